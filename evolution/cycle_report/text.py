"""A cycle's report as Markdown and as HTML. Names and reasons come from outside: all is escaped."""

from __future__ import annotations

import re
from html import escape

from agenticrs.evolution.cycle_report.blocks import (
    Block,
    Heading,
    Paragraph,
    Picture,
    Report,
    Table,
)

_SPECIAL = re.compile(r"([\\`*_{}\[\]<>()#|!~])")
_STYLE = """
:root { color-scheme: light dark; }
body { max-width: 1000px; margin: 32px auto; padding: 0 20px; line-height: 1.5;
  font-family: system-ui, sans-serif; font-size: 15px; }
table { border-collapse: collapse; margin: 8px 0 16px; }
th, td { text-align: left; vertical-align: top; padding: 4px 16px 4px 0;
  border-bottom: 1px solid #8886; overflow-wrap: break-word; }
th { white-space: nowrap; }
td { max-width: 60ch; }
svg { max-width: 100%; height: auto; }
"""


def markdown(report: Report) -> str:
    """The report as Markdown; its pictures are files beside it."""
    return "\n".join([f"# {_plain(report.title)}", "", *map(_in_markdown, report.blocks)])


def document(report: Report) -> str:
    """The report as one HTML file that needs nothing else."""
    title = escape(report.title)
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{title}</title>\n<style>{_STYLE}</style>\n</head>\n<body>\n<h1>{title}</h1>\n"
        f"{body(report)}\n</body>\n</html>\n"
    )


def body(report: Report) -> str:
    """The blocks as HTML, without a title and without style."""
    return "\n".join(map(_in_html, report.blocks))


def _in_markdown(block: Block) -> str:
    match block:
        case Heading(text):
            return f"## {_plain(text)}\n"
        case Paragraph(text):
            return f"{_plain(text)}\n"
        case Picture(name, _, text):
            return f"![{_plain(text)}]({name}.svg)\n"
        case Table(head, rows):
            lines = [head, ["---"] * len(head), *rows]
            cells = [
                [cell if place == 1 else _plain(cell) for cell in line]
                for place, line in enumerate(lines)
            ]
            return "".join(f"| {' | '.join(line)} |\n" for line in cells)


def _in_html(block: Block) -> str:
    match block:
        case Heading(text):
            return f"<h2>{escape(text)}</h2>"
        case Paragraph(text):
            return f"<p>{escape(text)}</p>"
        case Picture(_, svg, text):
            return f"<figure>{svg}<figcaption>{escape(text)}</figcaption></figure>"
        case Table(head, rows):
            heads = "".join(f'<th scope="col">{escape(text)}</th>' for text in head)
            lines = "".join(
                "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in row) + "</tr>"
                for row in rows
            )
            return (
                '<div class="scroll" role="region" tabindex="0" aria-label="Table"><table>'
                f"<thead><tr>{heads}</tr></thead><tbody>{lines}</tbody></table></div>"
            )


def _plain(text: str) -> str:
    """Text that Markdown shows as it is."""
    return _SPECIAL.sub(r"\\\1", " ".join(text.split()))
