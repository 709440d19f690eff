"""What a page would run: texts that a log may hold, and whether a page made of them does anything of its own."""

from html.parser import HTMLParser

PAYLOADS = (
    "<script>canary()</script>",
    "</script></style></title></textarea><script>canary()</script>",
    "<img src=x onerror=canary()>",
    '" onmouseover="canary()" x="',
    "' autofocus onfocus='canary()",
    "<b id=canary>bold</b>",
    "<a href='javascript:canary()'>x</a>",
    "<!-- --><svg onload=canary()>",
    "{{ canary() }}{% raw %}${canary()}",
    "]]><iframe srcdoc='<script>canary()</script>'>",
)
HOSTILE = " ".join(PAYLOADS)
"""All of them in one text."""


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.found, self._script = [], False

    def handle_starttag(self, tag, attributes):
        self._script = tag == "script"
        for name, value in attributes:
            link = name in ("href", "src", "action") and "javascript:" in str(value).lower()
            if name.startswith("on") or link or (name, value) == ("id", "canary"):
                self.found.append(f"<{tag} {name}={value!r}>")
        if tag in {"iframe", "object", "embed"}:
            self.found.append(f"<{tag}>")

    def handle_endtag(self, tag):
        self._script = False

    def handle_data(self, data):
        if self._script and "canary" in data.lower():
            self.found.append(f"script: {data[:40]}")


def active(html):
    """What of a page is not its own doing."""
    page = _Page()
    page.feed(html)
    page.close()
    return page.found
