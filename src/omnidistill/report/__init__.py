"""What an evaluation found, for people: tables for terminal, Markdown and CSV, and one self-contained HTML page."""
