"""Process settings: one frozen class, read from the environment once, at start."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from zoneinfo import ZoneInfo

from service import variables
from service.variables import Network

REPOSITORY = Path(__file__).resolve().parents[1]
DEMO_CATALOG = REPOSITORY / "examples" / "shop"
SQLITE = "sqlite:///"


# The mark in a home from the first move of a restore to its last.
UNFINISHED_RESTORE = "restore.unfinished"


class SettingsError(Exception):
    """An environment variable has a value that cannot be used."""

    exit_code = 2


class UnfinishedRestoreError(SettingsError):
    """The home was half restored: nothing wrong was asked for, but nothing can be done in it either."""

    exit_code = 1


def _env(variable: str, doc: str) -> dict[str, str]:
    return {"env": variable, "doc": doc}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Everything the process takes from its environment; secrets are hidden from repr.

    Each field's ``metadata['env']`` names its variable and ``metadata['doc']`` explains it:
    docs/settings.md is checked against this class by a test.
    """

    home: Path = field(
        metadata=_env(
            "OPPORTUNE_HOME",
            "Folder of all data: database, lake, models, keys.env. Default: ./data.",
        ),
    )
    catalog: Path = field(
        metadata=_env(
            "OPPORTUNE_CATALOG",
            "Catalog folder. Default: the demo shop in examples/shop.",
        ),
    )
    database_url: str = field(
        repr=False,
        metadata=_env(
            "OPPORTUNE_DATABASE_URL",
            "sqlite:////folder/file.db or postgresql://user:password@host/database. "
            "Default: SQLite at $OPPORTUNE_HOME/opportune.db.",
        ),
    )
    port: int = field(
        metadata=_env(
            "PORT",
            "Port of the web process. Default: 8000.",
        ),
    )
    web_concurrency: int = field(
        metadata=_env(
            "WEB_CONCURRENCY",
            "Web worker processes. Default: 2.",
        ),
    )
    hot_lane: bool = field(
        metadata=_env(
            "OPPORTUNE_HOT_LANE",
            "1 (default) answers flag evaluations on the event loop; 0 sends everything through Flask.",
        ),
    )
    watch_catalog: bool = field(
        metadata=_env(
            "OPPORTUNE_WATCH",
            "1 makes the worker apply the catalog folder when it changes. Default: 0; `make run` sets 1.",
        ),
    )
    origins: tuple[str, ...] = field(
        metadata=_env(
            "OPPORTUNE_ORIGINS",
            "Comma-separated browser origins that may call with a client key; "
            "`localhost` stands for any port of it. "
            "Default: none; `make run` allows localhost.",
        ),
    )
    client_key: str = field(
        repr=False,
        metadata=_env(
            "OPPORTUNE_CLIENT_KEY",
            "Public key of web frontends (ck_...). Made on the first `make run` if absent.",
        ),
    )
    server_key: str = field(
        repr=False,
        metadata=_env(
            "OPPORTUNE_SERVER_KEY",
            "Secret key of backends (sk_...). Made on the first `make run` if absent.",
        ),
    )
    analyst_key: str = field(
        repr=False,
        metadata=_env(
            "OPPORTUNE_ANALYST_KEY",
            "Secret key that reads verdicts only (rk_...). Made on the first `make run` if absent.",
        ),
    )
    admin_key: str = field(
        repr=False,
        metadata=_env(
            "OPPORTUNE_ADMIN_KEY",
            "Secret key that changes everything (ak_...). Made on the first `make run` if absent.",
        ),
    )
    signing_secret: str = field(
        repr=False,
        metadata=_env(
            "OPPORTUNE_SIGNING_SECRET",
            "Signs person tokens and preview links. Made on the first `make run` if absent.",
        ),
    )
    public_url: str = field(
        default="",
        metadata=_env(
            "OPPORTUNE_PUBLIC_URL",
            "Address under which clients reach the service, such as https://flags.shop.example. "
            "Default: none; answers then name paths, which clients resolve against the address they called.",
        ),
    )
    rate_limit: int = field(
        default=0,
        metadata=_env(
            "OPPORTUNE_RATE_LIMIT",
            "Evaluation requests a second from one address, in each web worker; above it the answer is 429. "
            "Default: 0, no limit.",
        ),
    )
    insecure_webhooks: bool = field(
        default=False,
        metadata=_env(
            "OPPORTUNE_INSECURE_WEBHOOKS",
            "1 lets webhooks go to http addresses inside your network; without it only to https, or to "
            "http on this machine. Default: 0.",
        ),
    )
    proxies: tuple[Network, ...] = field(
        default=(),
        metadata=_env(
            "OPPORTUNE_PROXIES",
            "Comma-separated addresses or networks of your own proxies: only from them is X-Forwarded-For "
            "believed. Default: none.",
        ),
    )
    zone: ZoneInfo = field(
        default=ZoneInfo("UTC"),
        metadata=_env(
            "OPPORTUNE_ZONE",
            "Time zone of the attributes request.weekday and request.hour, such as Europe/Madrid. "
            "Default: UTC.",
        ),
    )
    lake_place: Path | str = field(
        default="",
        repr=False,
        metadata=_env(
            "OPPORTUNE_LAKE",
            "Folder of the Parquet event log, or its URL in an object store, such as s3://bucket/shop. "
            "Default: $OPPORTUNE_HOME/lake.",
        ),
    )
    engine: str = field(
        default="duckdb",
        metadata=_env(
            "OPPORTUNE_ENGINE",
            "What computes verdicts: duckdb (default) or spark from the lake, or postgresql in place; "
            "see engines.md.",
        ),
    )
    spark_master: str = field(
        default="local[*]",
        metadata=_env(
            "OPPORTUNE_SPARK_MASTER",
            "Where the engine spark computes: local[*] (default, this machine), spark://host:7077, yarn, "
            "sc://host:15002.",
        ),
    )
    log_level: str = field(
        metadata=_env(
            "OPPORTUNE_LOG_LEVEL",
            "DEBUG, INFO (default), WARNING or ERROR.",
        ),
    )

    @property
    def demo(self) -> bool:
        """Whether the catalog served is the demo shop that ships with the code."""
        return self.catalog == DEMO_CATALOG

    @property
    def has_data(self) -> bool:
        """Whether a store was made already; of a database URL that is no file, its driver will tell."""
        url = self.database_url
        return not url.startswith(SQLITE) or Path(url.removeprefix(SQLITE).split("?")[0]).exists()

    @property
    def lake(self) -> Path | str:
        """Folder of the Parquet event log, or its URL."""
        return self.lake_place or self.home / "lake"

    @property
    def partials(self) -> Path:
        """Folder of what was summed up of each unit at the last verdict."""
        return self.home / "partials"

    @property
    def models(self) -> Path:
        """Folder of the model directories."""
        return self.home / "models"

    @property
    def audiences(self) -> Path:
        """Folder of the membership file of behavioural audiences, which every web worker maps."""
        return self.home / "audiences"

    @property
    def meters(self) -> Path:
        """Folder of the counters that the web processes share; emptied at each start."""
        return self.home / "run" / "meters"

    @property
    def spare(self) -> Path:
        """File of what was last served: web workers begin with it while the store is away."""
        return self.home / "run" / "last-served.json"

    @property
    def keys_file(self) -> Path:
        """File of the keys made on the first run; mode 0600."""
        return self.home / "keys.env"


def variable_names() -> tuple[str, ...]:
    """Return the environment variables that are read, in the order of the class."""
    return tuple(f.metadata["env"] for f in fields(Settings))


def load(environ: Mapping[str, str] | None = None) -> Settings:
    """Read the environment, with `$OPPORTUNE_HOME/keys.env` filling in keys that it does not set.

    Raises
    ------
    SettingsError
        If a value is malformed; the message names the variable and what is expected.
    """
    env = dict(os.environ if environ is None else environ)
    home = _home(env)
    env = {**_kept_keys(home), **{k: v for k, v in env.items() if v}}
    catalog = Path(env.get("OPPORTUNE_CATALOG") or DEMO_CATALOG).expanduser().resolve()
    try:
        return _settings(env, home, catalog)
    except ValueError as error:
        raise SettingsError(str(error)) from error


def _settings(env: Mapping[str, str], home: Path, catalog: Path) -> Settings:
    return Settings(
        home=home,
        catalog=catalog,
        database_url=env.get("OPPORTUNE_DATABASE_URL") or f"sqlite:///{home / 'opportune.db'}",
        port=variables.integer(env, "PORT", 8000, 1, 65_535),
        web_concurrency=variables.integer(env, "WEB_CONCURRENCY", 2, 1, 256),
        hot_lane=variables.switch(env, "OPPORTUNE_HOT_LANE", default=True),
        watch_catalog=variables.switch(env, "OPPORTUNE_WATCH", default=False),
        origins=variables.origins(env),
        client_key=variables.key(env, "OPPORTUNE_CLIENT_KEY", "ck_"),
        server_key=variables.key(env, "OPPORTUNE_SERVER_KEY", "sk_"),
        analyst_key=variables.key(env, "OPPORTUNE_ANALYST_KEY", "rk_"),
        admin_key=variables.key(env, "OPPORTUNE_ADMIN_KEY", "ak_"),
        signing_secret=env.get("OPPORTUNE_SIGNING_SECRET", ""),
        public_url=variables.public_url(env),
        rate_limit=variables.integer(env, "OPPORTUNE_RATE_LIMIT", 0, 0, 1_000_000),
        insecure_webhooks=variables.switch(env, "OPPORTUNE_INSECURE_WEBHOOKS", default=False),
        proxies=variables.proxies(env),
        zone=variables.zone(env),
        lake_place=variables.lake(env),
        engine=variables.one_of(env, "OPPORTUNE_ENGINE", ("duckdb", "postgresql", "spark")),
        spark_master=env.get("OPPORTUNE_SPARK_MASTER") or "local[*]",
        log_level=variables.one_of(env, "OPPORTUNE_LOG_LEVEL", ("INFO", "DEBUG", "WARNING", "ERROR")),
    )


def make_home(settings: Settings) -> None:
    """Make the folder of all data where there is none: for its owner only, and out of git's reach.

    Raises
    ------
    SettingsError
        If it cannot be made.
    """
    try:
        if settings.home.is_dir() and any(settings.home.iterdir()):
            return
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        (settings.home / ".gitignore").write_text("*\n", "utf-8")
    except OSError as error:
        raise SettingsError(
            f"OPPORTUNE_HOME={settings.home}: this folder cannot be made or written ({error.strerror})"
        ) from error


def unfinished_restore(home: Path) -> str:
    """Return what is wrong with a home whose restore was interrupted; empty when nothing is."""
    if not (home / UNFINISHED_RESTORE).exists():
        return ""
    return (
        f"a restore into {home} was interrupted and its data is incomplete; run the same `opportune restore` "
        "again, or another backup's. What was there before lies in its folder before-restore-..."
    )


def require_restored(home: Path) -> None:
    """Refuse a home whose restore was interrupted.

    Raises
    ------
    UnfinishedRestoreError
        If there is the mark of it.
    """
    if problem := unfinished_restore(home):
        raise UnfinishedRestoreError(problem)


def require_home(settings: Settings) -> Settings:
    """Return `settings` when there is a whole store: a command that only looks must not make an empty one.

    Raises
    ------
    SettingsError
        If there is none, or if it was half restored.
    """
    require_restored(settings.home)
    if not settings.has_data:
        raise SettingsError(f"no data in {settings.home}; set OPPORTUNE_HOME")
    return settings


def read_env_file(path: Path) -> dict[str, str]:
    """Return the NAME=value lines of `path`; an absent file is empty."""
    if not path.is_file():
        return {}
    lines = (line.strip() for line in path.read_text("utf-8").splitlines())
    pairs = (line.split("=", 1) for line in lines if line and not line.startswith("#") and "=" in line)
    return {name.strip(): value.strip() for name, value in pairs}


def child_environment(**changes: str) -> dict[str, str]:
    """Return this process's environment with `changes`, for a child process."""
    return {**os.environ, **changes}


def _home(env: Mapping[str, str]) -> Path:
    home = Path(env.get("OPPORTUNE_HOME") or "data").expanduser().resolve()
    if home.exists() and not home.is_dir():
        raise SettingsError(f"OPPORTUNE_HOME={home}: expected a folder")
    return home


def _kept_keys(home: Path) -> dict[str, str]:
    try:
        return read_env_file(home / "keys.env")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"OPPORTUNE_HOME={home}: keys.env cannot be read ({error})") from error


def explicit(variable: str) -> str:
    """Return what the environment itself says of `variable`; empty when it is not set there."""
    return os.environ.get(variable, "")
