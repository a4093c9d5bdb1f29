// The page: head, filter, the open cell.

const STEPS_AT_ONCE = 100;
const at = (id) => document.getElementById(id);

function tile(name, value, ...notes) {
  return element("div", { class: "tile" }, element("div", { class: "name" }, name),
    element("div", { class: "value" }, value), ...notes.filter(Boolean).map((note) => element("div", { class: "note" }, note)));
}

function counted(items, key) {
  const found = new Map();
  for (const item of items) found.set(key(item), (found.get(key(item)) || 0) + 1);
  return found;
}

function drawHead() {
  const { totals, estimate } = plan;
  const chosen = plan.cells.filter((cell) => cell.chosen);
  const states = counted(chosen, state);
  const skipped = totals.steps - totals.run - totals.reuse;
  const unknown = Object.values(estimate.without_history).reduce((sum, number) => sum + number, 0);
  const known = estimate.seconds !== undefined;
  const idle = estimate.steps === 0;
  const needed = plan.cells.length - chosen.length;
  const standing = [...Object.keys(STATUSES), ...Object.keys(ACTIONS)].filter((name) => states.has(name));
  at("head").append(
    element("h1", {}, plan.project),
    element("div", { class: "soft" }, `Plan for ${plan.platform}`),
    element("div", { class: "tiles" },
      tile("Cells", count(totals.cells), standing.map((name) => `${count(states.get(name))} ${name}`).join(", "),
        needed ? `${count(needed)} more needed by them` : ""),
      tile("Steps to run", count(totals.run), `${count(totals.reuse)} to reuse, ${count(skipped)} to skip`,
        `${count(totals.steps)} distinct of ${count(totals.asked)} asked for`),
      tile("Time", idle ? "nothing to run" : known ? duration(estimate.seconds) : "no history",
        known && !idle ? `critical path ${duration(estimate.critical_path_seconds)}` : "",
        known && unknown ? `${count(unknown)} of ${plural(estimate.steps, "step")} have no history` : ""),
      tile("Containers", count(estimate.containers),
        estimate.containers > 1 ? `${count(estimate.containers_at_once)} at most at a time` : ""),
      tile("Memory", estimate.memory_at_once ? memory(estimate.memory_at_once) : "–",
        estimate.memory_at_once ? "limits of containers at a time" : "",
        estimate.containers_without_memory_limit
          ? `${plural(estimate.containers_without_memory_limit, "container")} without a limit` : ""),
      tile("Transfer", idle ? "–" : known ? `${bytes(estimate.bytes_sent)} sent` : "no history",
        known && estimate.bytes_fetched ? `${bytes(estimate.bytes_fetched)} fetched` : ""),
    ),
  );
}

function drawWhatIf() {
  const supposed = plan.what_if;
  if (!supposed) return;
  const names = (title, cells) => cells.length
    ? [element("details", {}, element("summary", {}, `${title}: ${count(cells.length)}`),
      element("ul", {}, ...cells.map((name) => element("li", {}, cellLink(name)))))] : [];
  const sums = `${count(supposed.changed.length)} changed, ${count(supposed.added.length)} added, `
    + `${count(supposed.removed.length)} removed, ${count(supposed.untouched)} untouched`;
  at("what-if").hidden = false;
  at("what-if").append(element("div", { class: "banner" },
    element("strong", {}, "What if: "), "this is not the plan of the manifest and the lock as they are, but with",
    element("ul", {}, ...supposed.changes.map((change) => element("li", {}, code(change)))),
    element("p", { class: "sums" }, `Cells: ${sums}`),
    ...names("changed", supposed.changed), ...names("added", supposed.added), ...names("removed", supposed.removed)));
}

function drawLegend() {
  const states = counted(plan.cells, state);
  const asked = plan.cells.some((cell) => cell.status);
  const names = [...Object.keys(STATUSES).filter(() => asked), ...Object.keys(ACTIONS).filter((name) => !asked || states.has(name))];
  const entry = (mark, text) => element("span", {}, mark, text);
  at("legend").append(...names.map((name) => entry(element("b", { class: `square ${name}` }, sign(name)),
    `${name}: ${meaning(name)} (${count(states.get(name) || 0)})`)));
  at("legend").append(entry(element("b", { class: "square none" }), "no such cell"));
  if (plan.cells.some((cell) => !cell.chosen)) at("legend").append(entry(element("b", { class: "square needed" }), "only needed by others"));
  if (touched.size) at("legend").append(entry(element("b", { class: "square touched" }), "changed or added by the what-if"));
  if (!asked) at("legend").append(element("span", { class: "soft" }, "Nobody was asked how the tags stand: squares show what happens to each cell's assembly."));
  at("graph-legend").append(...Object.keys(ACTIONS).map((name) => entry(element("b", { class: `swatch ${name}` }), `${name}: ${meaning(name)}`)),
    entry(element("b", { class: "swatch path" }), "critical path"));
}

function drawSteps() {
  const steps = plan.steps.filter((step) => step.action === "run");
  steps.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.id - b.id);
  if (!steps.length) {
    at("steps").append(element("p", {}, "Nothing is to be run."));
    return;
  }
  const body = element("tbody");
  const more = element("button", { type: "button", class: "more" });
  let shown = 0;
  const show = () => {
    body.append(...steps.slice(shown, shown + STEPS_AT_ONCE).map((step) => element("tr", { "data-step": step.id },
      element("td", {}, step.kind), element("td", {}, code(step.label)),
      element("td", { class: "count" }, `× ${count(step.asked)}`), element("td", {}, step.reason))));
    shown = Math.min(shown + STEPS_AT_ONCE, steps.length);
    more.hidden = shown === steps.length;
    more.textContent = `${count(shown)} of ${count(steps.length)} shown; show more`;
  };
  const heads = ["Kind", "Step", "Asked", "Why"].map((text) => element("th", { scope: "col" }, text));
  at("steps").append(element("table", { class: "lines" }, element("thead", {}, element("tr", {}, ...heads)), body), more);
  more.addEventListener("click", show);
  show();
}

function drawInputs() {
  const rows = [...Object.entries(plan.inputs.images).map((entry) => ["image", ...entry]),
    ...Object.entries(plan.inputs.downloads).map((entry) => ["download", ...entry])];
  const lines = rows.map(([kind, name, value]) => element("tr", {}, element("td", {}, kind), element("td", {}, code(name)),
    element("td", {}, value ? code(value) : "not locked yet")));
  if (plan.inputs.created) at("inputs").append(element("p", {}, "Images are created at ", code(plan.inputs.created)));
  if (lines.length) at("inputs").append(element("table", { class: "lines" }, element("tbody", {}, ...lines)));
  else at("inputs").append(element("p", {}, "Nothing comes from outside."));
}

const images = imagesOf(plan.cells);
const texts = new Map();

/** What the filter looks through. */
function textOf(cell) {
  if (!texts.has(cell)) {
    const reasons = (cell.reasons || []).flatMap((reason) => [reason.code, reason.subject, REASONS[reason.code] || ""]);
    texts.set(cell, [cell.name, state(cell), touched.get(cell.name) || "", ...cell.references, ...reasons].join("\n").toLowerCase());
  }
  return texts.get(cell);
}

function drawMatrix() {
  const words = at("filter").value.toLowerCase().split(/\s+/).filter(Boolean);
  const matches = (cell) => words.every((word) => textOf(cell).includes(word));
  drawGrids(at("grids"), images, matches);
  const found = words.length ? plan.cells.filter(matches).length : 0;
  at("matches").textContent = words.length ? `${count(found)} of ${plural(plan.cells.length, "cell")}` : "";
  pressOpen();
}

let opened;
let mode;

function pressOpen() {
  for (const button of at("grids").querySelectorAll("button[aria-pressed='true']")) button.setAttribute("aria-pressed", "false");
  const button = opened && at("grids").querySelector(`button[data-cell="${CSS.escape(opened.name)}"]`);
  if (button) button.setAttribute("aria-pressed", "true");
  return button;
}

function redrawGraph() {
  const ids = drawnSteps(mode, opened);
  drawGraph(at("graph"), ids);
  if (mode !== "cell") markGraph(at("graph"), opened);
  const total = plural(plan.steps.length, "step");
  const note = mode === "all" ? "" : mode === "main" ? `${count(ids.length)} of ${total} drawn: artifacts, setup and assembly`
    : opened ? `${count(ids.length)} of ${total} drawn: those of ${opened.name}` : `none of ${total} drawn: open a cell to see its steps`;
  const large = plan.steps.length > DRAWN_AT_MOST ? `; all are too many to draw` : "";
  at("graph-note").textContent = note + large;
}

function show(cell) {
  const before = opened;
  opened = cell;
  at("panel").hidden = cell === undefined;
  document.querySelector("main").classList.toggle("open", cell !== undefined);
  const button = pressOpen();
  if (cell) {
    drawPanel(at("panel"), cell);
    at("panel").scrollTop = 0;
  }
  if (mode === "cell") redrawGraph();
  else markGraph(at("graph"), cell);
  if (cell && button && cell !== before) button.scrollIntoView({ block: "nearest", inline: "nearest" });
}

/** The cell that the address names. */
function showNamed() {
  let name;
  try {
    name = decodeURIComponent((location.hash.match(/^#cell=(.*)$/s) || [])[1] || "");
  } catch {
    name = "";
  }
  show(cellsByName.get(name));
}

function closePanel() {
  const name = opened && opened.name;
  history.pushState(null, "", location.href.split("#")[0]);
  show(undefined);
  const button = name && at("grids").querySelector(`button[data-cell="${CSS.escape(name)}"]`);
  if (button) button.focus();
}

function start() {
  drawHead();
  drawWhatIf();
  drawLegend();
  drawMatrix();
  drawSteps();
  drawInputs();
  const modes = graphModes();
  at("graph-mode").append(...modes.map(([value, text]) => element("option", { value }, text)));
  [[mode]] = modes;
  redrawGraph();
  at("graph-mode").addEventListener("change", () => {
    mode = at("graph-mode").value;
    redrawGraph();
  });
  let waiting;
  at("filter").addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(drawMatrix, 120);
  });
  at("grids").addEventListener("keydown", moveFocus);
  at("grids").addEventListener("click", (event) => {
    const button = event.target.closest("button[data-cell]");
    if (button) location.hash = linkTo(button.dataset.cell);
  });
  at("graph").addEventListener("click", (event) => {
    const node = event.target.closest(".node.cell");
    if (node) location.hash = linkTo(cellsByAssembly.get(Number(node.dataset.step)).name);
  });
  at("panel").addEventListener("click", (event) => {
    if (event.target.closest(".close")) closePanel();
  });
  document.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && opened) closePanel();
  });
  window.addEventListener("hashchange", showNamed);
  showNamed();
}

start();
