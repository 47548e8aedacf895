"""Reports of scores: tables for terminal, Markdown, LaTeX and CSV, and one self-contained HTML page."""
