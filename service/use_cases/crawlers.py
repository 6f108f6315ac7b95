"""Is a User-Agent that of a crawler? It reads pages and buys nothing, so its events say nothing of people."""

from service.use_cases.request_facts import MOST_CHARACTERS, device_class

LIBRARIES = ("python-urllib", "java/")
"""What programs of people call with, and ua-parser counts among the spiders."""


def is_crawler(user_agent: str) -> bool:
    """Tell whether a User-Agent names a crawler; an absent one does not.

    Examples
    --------
    >>> is_crawler("Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)")
    True
    >>> is_crawler("python-urllib3/2.2"), is_crawler("")
    (False, False)
    """
    if not user_agent or user_agent.lower().startswith(LIBRARIES):
        return False
    return device_class(user_agent[:MOST_CHARACTERS]) == "bot"
