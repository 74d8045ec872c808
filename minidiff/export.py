"""`minidiff export`: a notebook as one page. Its players go on working, with no kernel and no network."""

from __future__ import annotations

import html
import os
import re
from pathlib import Path

import nbformat

from . import files

VIEW = "application/vnd.jupyter.widget-view+json"
STYLE = """
:root { color-scheme: light dark; }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem; font: 16px/1.6 system-ui, sans-serif; }
h1, h2, h3 { line-height: 1.25; margin-top: 2em; } h1 { margin-top: 0; }
a { color: #0b5cad; } .anchor-link, .prompt { display: none; }
pre, code { font: 14px/1.5 ui-monospace, monospace; }
.input_area, .text_cell_render pre { border: 1px solid #8886; border-radius: 6px; padding: .6rem .8rem; }
.input_area, .text_cell_render pre { overflow: auto; }
pre { margin: 0; } .output_area { margin: .6rem 0; overflow-x: auto; } .cell { margin: 1rem 0; }
img { max-width: 100%; } table { border-collapse: collapse; } th, td { border: 1px solid #8886; padding: .3rem .6rem; }
.minidiff th, .minidiff td { border: 0; }
@media (prefers-color-scheme: dark) { body { background: #16181b; color: #e8e8e8; } a { color: #7ab8f5; } }
"""


def export(notebook: str | os.PathLike, out: str | os.PathLike) -> Path:
    """Write the saved outputs of a notebook as one HTML page, whole or not at all. ValueError if it is no notebook.

    Widgets that need a kernel are left out: the still picture or the player that stands before each remains.
    """
    from nbconvert import HTMLExporter
    from pygments.formatters import HtmlFormatter

    notebook = Path(notebook)
    try:
        made = nbformat.read(notebook, as_version=4)
    except Exception as error:  # not JSON, or JSON of another kind
        if isinstance(error, OSError):
            raise
        raise ValueError(f"{notebook} is no notebook that can be read") from error
    made.metadata.pop("widgets", None)
    for cell in made.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if VIEW not in output.get("data", {})]
    body, _ = HTMLExporter(template_name="basic").from_notebook_node(made)
    body = re.sub(r'href="([^":]+)\.ipynb([#"])', r'href="\1.html\2', body)  # lessons link to lessons
    light, dark = (HtmlFormatter(style=name).get_style_defs(".highlight") for name in ("default", "github-dark"))
    style = f"{STYLE}{light}\n@media (prefers-color-scheme: dark) {{ {dark} }}\n.highlight {{ background: none; }}"
    title = next((m[1] for cell in made.cells if (m := re.match(r"# (.+)", cell.source))), notebook.stem)
    page = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width">\n'
        f"<title>{html.escape(title)}</title>\n<style>{style}</style>\n</head>\n<body>\n<main>\n{body}\n</main>\n</body>\n</html>\n"
    )
    return files.write(out, page.encode())
