"""What the site's builder does beside the pages: links out of docs lead to the repository, where a reader on GitHub finds them too."""

import re
from typing import Any

OUTSIDE = re.compile(r"\]\(\.\./([^)]+)\)")


def on_page_markdown(markdown: str, config: Any, **_: Any) -> str:
    """Links to files outside of the documents go to the repository."""
    return OUTSIDE.sub(lambda link: f"]({config['repo_url']}/blob/main/{link[1]})", markdown)
