"""Report scores as tables for the terminal, Markdown, LaTeX and CSV, and as one self-contained HTML page."""
