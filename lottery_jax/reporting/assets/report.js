"use strict";
const figures = new Map(
  JSON.parse(document.getElementById("figures").textContent).map((own) => [own.id, own]),
);
const dark = window.matchMedia("(prefers-color-scheme: dark)");
const color = (name) =>
  getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// What is too dark on a dark page.
const brighter = {
  "#0072b2": "#4aa8e8", "#d55e00": "#ff8a3d", "#009e73": "#2ecfa0", "#8b5a2b": "#c98f5a",
};

function inked(value) {
  if (value === "ink") return color("--ink");
  if (dark.matches && typeof value === "string") return brighter[value.toLowerCase()] ?? value;
  if (Array.isArray(value)) {
    return value.some((one) => typeof one === "object") ? value.map(inked) : value;
  }
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([key, own]) => [key, inked(own)]));
}

function layoutOf(figure) {
  const axis = (own = {}) => ({
    gridcolor: color("--line"), zeroline: false, automargin: true, ...own,
    title: { text: own.title, standoff: 8 },
  });
  return {
    ...figure.layout,
    xaxis: axis(figure.layout.xaxis),
    yaxis: axis(figure.layout.yaxis),
    paper_bgcolor: "rgba(0,0,0,0)",
    plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: color("--ink"), size: 12 },
    legend: { orientation: "h", y: -0.22 },
    margin: { l: 56, r: 12, t: 32, b: 48 },
    hovermode: "closest",
    modebar: { bgcolor: "rgba(0,0,0,0)", color: color("--line"), activecolor: color("--ink") },
    uirevision: "same",
  };
}

function draw(id) {
  const figure = figures.get(id);
  const frame = figure.frame ?? figure.frames.length - 1;
  figure.drawn = true;
  const label = document.getElementById(`${id}_label`);
  if (label) label.textContent = figure.labels[frame];
  const place = document.getElementById(id);
  return Plotly.react(place, inked(figure.frames[frame]), layoutOf(figure), {
    responsive: true, displaylogo: false,
  });
}

const seen = new IntersectionObserver((entries) => {
  for (const entry of entries) {
    if (!entry.isIntersecting) continue;
    seen.unobserve(entry.target);
    draw(entry.target.id);
  }
}, { rootMargin: "400px" });
for (const id of figures.keys()) seen.observe(document.getElementById(id));

const drawn = () => [...figures.values()].filter((figure) => figure.drawn);
dark.addEventListener("change", () => drawn().forEach((figure) => draw(figure.id)));
window.addEventListener("beforeprint", () => [...figures.keys()].forEach(draw));

for (const slider of document.querySelectorAll("input[data-figure]")) {
  slider.addEventListener("input", () => {
    figures.get(slider.dataset.figure).frame = Number(slider.value);
    draw(slider.dataset.figure);
  });
}

for (const field of document.querySelectorAll("input[data-table]")) {
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\s+/);
    for (const row of document.getElementById(field.dataset.table).tBodies[0].rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
}

for (const head of document.querySelectorAll(".sortable th")) {
  head.tabIndex = 0;
  const sort = () => {
    const body = head.closest("table").tBodies[0];
    const up = head.ariaSort !== "ascending";
    for (const other of head.parentNode.cells) other.removeAttribute("aria-sort");
    head.ariaSort = up ? "ascending" : "descending";
    const value = (row) => {
      const text = row.cells[head.cellIndex].textContent;
      return text === "" || Number.isNaN(Number(text)) ? text : Number(text);
    };
    const rows = [...body.rows].map((row) => [value(row), row]);
    const order = ([a], [b]) =>
      typeof a === typeof b ? (a < b ? -1 : Number(a > b)) : typeof a === "number" ? -1 : 1;
    rows.sort((one, other) => (up ? order(one, other) : order(other, one)));
    body.append(...rows.map(([, row]) => row));
  };
  head.addEventListener("click", sort);
  head.addEventListener("keydown", (event) => {
    if (event.key === "Enter") sort();
  });
}
