"use strict";
// The legend hides and shows the lines and rows of an experiment.
for (const button of document.querySelectorAll(".legend button")) {
  button.addEventListener("click", () => {
    const shown = button.getAttribute("aria-pressed") !== "true";
    button.setAttribute("aria-pressed", String(shown));
    for (const item of document.querySelectorAll(`[data-group="${button.dataset.shows}"]`)) {
      item.classList.toggle("off", !shown);
    }
  });
}

// The values under the pointer, computed back from the points that are drawn (0 to 1000 on both axes).
const names = [...document.querySelectorAll(".legend button")].map((button) => button.textContent);
const digits = (value) => String(Number(value.toPrecision(4)));
for (const chart of document.querySelectorAll(".chart")) {
  const svg = chart.querySelector("svg"), tip = chart.querySelector(".tip"), cursor = chart.querySelector(".cursor");
  const scale = (text) => text.split(" ").map(Number);
  const [x0, x1] = scale(chart.dataset.x), [y0, y1] = scale(chart.dataset.y);
  const value = (y) => {
    const number = y0 + (1 - y / 1000) * (y1 - y0);
    return chart.dataset.log === "1" ? 10 ** number : number;
  };
  const lines = [...chart.querySelectorAll(".mean, .second")].map((path) => ({
    path, points: path.getAttribute("d").slice(1).split("L").map(scale),
  }));
  const hide = () => { tip.hidden = true; cursor.setAttribute("d", ""); };
  const show = (event) => {
    const box = svg.getBoundingClientRect();
    const at = ((event.clientX - box.left) / box.width) * 1000;
    if (at < 0 || at > 1000) return hide();
    const rows = [];
    let nearest = at;
    for (const { path, points } of lines) {
      if (path.classList.contains("off")) continue;
      const point = points.reduce((a, b) => (Math.abs(b[0] - at) < Math.abs(a[0] - at) ? b : a));
      if (!rows.length) nearest = point[0];
      const row = document.createElement("div"), mark = document.createElement("i");
      mark.className = `g${path.dataset.group}`;
      const label = path.dataset.label ? `, ${path.dataset.label}` : "";
      row.append(mark, `${names[path.dataset.group] ?? ""}${label}: ${digits(value(point[1]))}`);
      rows.push(row);
    }
    if (!rows.length) return hide();
    const head = document.createElement("div");
    head.append(digits(x0 + (nearest / 1000) * (x1 - x0)));
    tip.replaceChildren(head, ...rows);
    tip.style.left = at < 500 ? `${at / 10 + 3}%` : "";
    tip.style.right = at < 500 ? "" : `${103 - at / 10}%`;
    tip.hidden = false;
    cursor.setAttribute("d", `M${nearest} 0V1000`);
  };
  svg.addEventListener("pointermove", show);
  svg.addEventListener("pointerdown", show);
  svg.addEventListener("pointerleave", hide);
}
