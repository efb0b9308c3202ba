"""Lines and ticks as plotly.js takes them."""

import matplotlib.colors
import numpy as np

INK = "ink"
"""The colour of text, which differs in the dark."""

SYMBOLS = {
    "o": "circle", "s": "square", "^": "triangle-up", "v": "triangle-down",
    "<": "triangle-left", ">": "triangle-right", "D": "diamond", "P": "cross",
    "X": "x", "*": "star", "p": "pentagon", "h": "hexagon", "H": "hexagon2",
    "d": "diamond-tall", "8": "octagon", "1": "y-down-open", "2": "y-up-open",
}  # fmt: skip
DASHES = {"-": "solid", "--": "dash", "-.": "dashdot", ":": "dot"}


def line(x, y, name: str, look: dict) -> dict:
    """A line in the look of a lane, see `plotting.style`."""
    color = matplotlib.colors.to_hex(look["color"])
    color = INK if color == "#000000" else color
    dash = look["linestyle"]
    lengths = None if isinstance(dash, str) else ",".join(f"{3 * n}px" for n in dash[1])
    trace = {
        "type": "scatter",
        "mode": "lines+markers" if look.get("marker") else "lines",
        "x": x,
        "y": y,
        "name": name,
        "legendgroup": name,
        "line": {
            "color": color,
            "dash": DASHES.get(dash) if lengths is None else lengths,
        },
    }
    if look.get("marker"):
        trace["marker"] = {"symbol": SYMBOLS[look["marker"]], "size": 7}
    return trace


def percent_ticks(tables) -> dict:
    """Ticks at densities that were measured, not all of them."""
    percents = np.unique(np.concatenate([rows.percent.round(6) for rows in tables]))
    chosen = percents[::-1][:: -(-len(percents) // 8)]
    return {"tickvals": chosen.tolist(), "ticktext": [f"{x:.3g}" for x in chosen]}
