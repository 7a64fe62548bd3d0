"""What the desk is painted with."""

from __future__ import annotations

from textual.theme import Theme

# The terminal's own colours, so that light ones stay light and dark ones dark.
TERMINAL = Theme(
    name="terminal",
    ansi=True,
    primary="ansi_cyan",
    secondary="ansi_cyan",
    warning="ansi_yellow",
    error="ansi_red",
    success="ansi_green",
    accent="ansi_cyan",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "ansi-background": "ansi_default",
        "ansi-foreground": "ansi_default",
        "footer-background": "ansi_default",
        "footer-foreground": "ansi_default",
        "footer-description-background": "ansi_default",
        "footer-description-foreground": "ansi_default",
        "footer-item-background": "ansi_default",
        "footer-key-background": "ansi_default",
        "footer-key-foreground": "ansi_cyan",
        "scrollbar": "ansi_bright_black",
        "scrollbar-background": "ansi_default",
        "scrollbar-hover": "ansi_cyan",
        "scrollbar-active": "ansi_cyan",
    },
)
