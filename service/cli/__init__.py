"""The `opportune` command: each module holds the commands of one kind of user."""
