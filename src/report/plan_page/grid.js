// The matrix: a table of squares for each image.

/** The cells of an image, its axes, and the values of each in order of the matrix. */
function imagesOf(cells) {
  const images = new Map();
  for (const cell of cells) {
    if (!images.has(cell.image)) images.set(cell.image, { name: cell.image, axes: axesOf(cell), cells: [] });
    images.get(cell.image).cells.push(cell);
  }
  for (const image of images.values()) {
    image.ranks = image.axes.map((axis) => {
      const ranks = new Map();
      for (const cell of image.cells) if (!ranks.has(cell.axes[axis])) ranks.set(cell.axes[axis], ranks.size);
      return ranks;
    });
  }
  return [...images.values()];
}

/** The combinations of some axes that cells have, in order of the matrix. */
function combinations(image, axes, cells) {
  const found = new Map();
  for (const cell of cells) {
    const values = axes.map((axis) => cell.axes[axis]);
    found.set(JSON.stringify(values), values);
  }
  const rank = (axis, value) => image.ranks[image.axes.indexOf(axis)].get(value);
  return [...found.values()].sort((a, b) => {
    const at = axes.findIndex((_, i) => a[i] !== b[i]);
    return at < 0 ? 0 : rank(axes[at], a[at]) - rank(axes[at], b[at]);
  });
}

/** How many of the axes are rows: the split with the fewest empty squares, then the squarest. */
function rowAxes(image) {
  if (image.axes.length < 2) return image.axes.length;
  let best;
  for (let split = 1; split <= image.axes.length; split++) {
    const rows = combinations(image, image.axes.slice(0, split), image.cells).length;
    const columns = combinations(image, image.axes.slice(split), image.cells).length;
    const score = (rows * columns / image.cells.length) * Math.max(rows, columns);
    if (!best || score < best.score) best = { split, score };
  }
  return best.split;
}

/** Length of the run of combinations from `at` that are equal up to and with `level`; 0 inside of one. */
function span(list, at, level) {
  const same = (a, b) => a.slice(0, level + 1).every((value, i) => value === b[i]);
  if (at > 0 && same(list[at - 1], list[at])) return 0;
  let end = at + 1;
  while (end < list.length && same(list[at], list[end])) end++;
  return end - at;
}

function square(cell, matches) {
  const status = state(cell);
  const notes = [cell.chosen ? "" : ", needed by others", touched.has(cell.name) ? `, ${touched.get(cell.name)} by the what-if` : ""];
  const classes = ["square", status, cell.chosen ? "" : "needed", touched.has(cell.name) ? "touched" : "",
    matches(cell) ? "" : "out"];
  return element("button", {
    type: "button", class: classes.filter(Boolean).join(" "), "data-cell": cell.name,
    "aria-label": `${cell.name}: ${status}${notes.join("")}`, title: `${cell.name}: ${status}${notes.join("")}`,
    "aria-pressed": "false",
  }, sign(status));
}

/** The table of an image; rows and columns without a match are left out. */
function gridOf(image, matches) {
  const kept = image.cells.filter(matches);
  if (!kept.length) return undefined;
  const split = rowAxes(image);
  const [down, across] = [image.axes.slice(0, split), image.axes.slice(split)];
  const rows = combinations(image, down, kept);
  const columns = combinations(image, across, kept);
  const table = element("table", { class: "grid", "aria-label": `Cells of ${image.name}` });
  if (image.axes.length) table.append(headOf(down, across, columns));
  const at = new Map(image.cells.map((cell) => [JSON.stringify(image.axes.map((axis) => cell.axes[axis])), cell]));
  const body = element("tbody");
  rows.forEach((row, y) => {
    const line = element("tr", { class: down.length > 1 && span(rows, y, 0) ? "first" : undefined });
    row.forEach((value, level) => {
      const length = span(rows, y, level);
      if (!length) return;
      const group = level < row.length - 1;
      line.append(element("th", { scope: group ? "rowgroup" : "row", rowspan: length > 1 ? length : undefined,
        class: `stuck level-${level}${group ? " group" : ""}` }, element("span", {}, value)));
    });
    columns.forEach((column, x) => {
      const cell = at.get(JSON.stringify([...row, ...column]));
      const inside = cell ? square(cell, matches)
        : element("span", { class: "square none", title: "no such cell", role: "img", "aria-label": "no such cell" });
      line.append(element("td", { "data-x": x }, inside));
    });
    body.append(line);
  });
  table.append(body);
  return element("div", { class: rows.length > 40 ? "scroll tall" : "scroll" }, table);
}

function headOf(down, across, columns) {
  const head = element("thead");
  const width = columns.reduce((sum, column) => sum + Math.max(40, (column[column.length - 1] || "").length * 8 + 14), 0);
  across.forEach((axis, level) => {
    const line = element("tr", {}, element("th", { class: "axis", colspan: down.length, scope: "row" }, `${axis} →`));
    const leaf = level === across.length - 1;
    columns.forEach((column, x) => {
      const length = span(columns, x, level);
      if (!length) return;
      const upright = leaf && width > 620;
      line.append(element("th", { scope: leaf ? "col" : "colgroup", colspan: length > 1 ? length : undefined,
        class: leaf ? (upright ? "upright" : undefined) : "group" }, element("span", {}, column[level])));
    });
    head.append(line);
  });
  const names = down.map((axis) => element("th", { class: "axis down", scope: "col" }, `${axis} ↓`));
  head.append(element("tr", {}, ...names, ...columns.map(() => element("td"))));
  return head;
}

/** Row heads stay in sight beside each other while the table is scrolled. */
function stickHeads(table) {
  const [first] = table.tBodies[0].rows;
  let left = 0;
  [...first.cells].filter((cell) => cell.tagName === "TH").forEach((cell, level) => {
    const offset = `${left}px`;
    for (const head of table.querySelectorAll(`th.level-${level}`)) head.style.left = offset;
    left += cell.offsetWidth;
  });
}

/** Arrow keys go from square to square. */
function moveFocus(event) {
  const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] }[event.key];
  const place = event.target.closest("td");
  if (!steps || !place) return;
  const rows = place.closest("tbody").rows;
  let x = Number(place.dataset.x);
  let y = place.parentElement.sectionRowIndex;
  for (;;) {
    x += steps[0];
    y += steps[1];
    const next = rows[y] && rows[y].querySelector(`td[data-x="${x}"]`);
    if (!next) return;
    if (next.firstChild.tagName === "BUTTON") {
      next.firstChild.focus();
      event.preventDefault();
      return;
    }
  }
}

/** Draws every image's table, dimming cells that do not match; gives how many match. */
function drawGrids(place, images, matches) {
  place.replaceChildren();
  for (const image of images) {
    const grid = gridOf(image, matches);
    if (!grid) continue;
    const note = element("span", { class: "soft" }, ` ${plural(image.cells.length, "cell")}`);
    place.append(element("section", { class: "image" }, element("h3", {}, image.name, note), grid));
    stickHeads(grid.firstChild);
  }
}
