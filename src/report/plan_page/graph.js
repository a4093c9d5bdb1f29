// The steps as a graph, left to right.

const DRAWN_AT_MOST = 600;
const MAIN = new Set(["artifact", "dockerfile", "setup", "assemble"]);
const NODE = { width: 236, height: 22, gap: 6, between: 60, head: 26, letters: 33 };

/** The longest chain of what runs; of the whole plan where nothing does. */
const criticalPath = plan.estimate.critical_path.length
  ? plan.estimate.critical_path.map((step) => step.id) : plan.critical_path;

/** Ways to draw the plan that are not too large. */
function graphModes() {
  const main = plan.steps.filter((step) => MAIN.has(step.kind)).length;
  const modes = [];
  if (plan.steps.length <= DRAWN_AT_MOST) modes.push(["all", "all steps"]);
  if (main <= DRAWN_AT_MOST) modes.push(["main", "artifacts, setup and assembly"]);
  modes.push(["cell", "the open cell's steps"]);
  return modes;
}

/** Ids of the steps to draw. */
function drawnSteps(mode, cell) {
  if (mode === "all") return plan.steps.map((step) => step.id);
  if (mode === "main") return plan.steps.filter((step) => MAIN.has(step.kind)).map((step) => step.id);
  return cell ? stepsOf(cell, false) : [];
}

/** Edges between drawn steps, through those that are not drawn. */
function edgesOf(ids) {
  const drawn = new Set(ids);
  const known = new Map();
  const sources = (id) => {
    if (known.has(id)) return known.get(id);
    const found = new Set();
    known.set(id, found);
    for (const need of plan.steps[id].needs) {
      if (drawn.has(need)) found.add(need);
      else for (const further of sources(need)) found.add(further);
    }
    return found;
  };
  return ids.flatMap((id) => [...sources(id)].map((from) => [from, id]));
}

/** Columns by kind; what is made from other cells' images comes in columns after theirs. */
function columnsOf(ids) {
  const turn = new Map();
  const rank = (id) => KINDS.indexOf(plan.steps[id].kind);
  let last = 0;
  for (const { id, needs } of plan.steps) {
    const turns = needs.map((need) => turn.get(need) + (rank(need) > rank(id) ? 1 : 0));
    turn.set(id, Math.max(0, ...turns));
    last = Math.max(last, turn.get(id));
  }
  const columns = new Map();
  for (const id of ids) {
    const final = DELIVERY.has(plan.steps[id].kind) && dependentsOf(id).every((d) => DELIVERY.has(plan.steps[d].kind));
    const key = (final ? last : turn.get(id)) * KINDS.length + rank(id);
    if (!columns.has(key)) columns.set(key, []);
    columns.get(key).push(id);
  }
  return [...columns.entries()].sort((a, b) => a[0] - b[0]).map(([, members]) => members);
}

/** Heights: near to what each step is joined to, never on each other. */
function heights(columns, edges) {
  const joined = new Map();
  for (const [a, b] of edges) {
    for (const [from, to] of [[a, b], [b, a]]) {
      if (!joined.has(from)) joined.set(from, []);
      joined.get(from).push(to);
    }
  }
  const pitch = NODE.height + NODE.gap;
  const y = new Map();
  for (const column of columns) column.forEach((id, i) => y.set(id, i * pitch));
  const tallest = (Math.max(...columns.map((column) => column.length)) - 1) * pitch;
  const wanted = (id) => {
    const others = joined.get(id) || [];
    return others.length ? others.reduce((sum, other) => sum + y.get(other), 0) / others.length : y.get(id);
  };
  for (let sweep = 0; sweep < 6; sweep++) {
    for (const column of sweep % 2 ? [...columns].reverse() : columns) {
      const want = new Map(column.map((id) => [id, wanted(id)]));
      column.sort((a, b) => want.get(a) - want.get(b) || a - b);
      let free = 0;
      for (const id of column) {
        y.set(id, Math.max(free, want.get(id)));
        free = y.get(id) + pitch;
      }
      let room = tallest;
      for (const id of [...column].reverse()) {
        y.set(id, Math.min(room, y.get(id)));
        room = y.get(id) - pitch;
      }
    }
  }
  return { y, height: tallest + NODE.height };
}

function drawing(name, attributes, text) {
  const made = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

/** A label that fits: of cells the values, of images the name; then its middle goes. */
function shortened(step) {
  const values = (cell) => ` ${cell.split(",").map((part) => part.slice(part.indexOf("=") + 1)).join(" ")}`;
  const whole = step.label.replace(/\[([^\]]*)\]/, (_, cell) => values(cell));
  const text = step.kind === "resolve" || step.kind === "index" ? whole.slice(whole.lastIndexOf("/") + 1) : whole;
  const letters = [...text];
  if (letters.length <= NODE.letters) return text;
  const end = Math.floor((NODE.letters - 1) * 0.45);
  return `${letters.slice(0, NODE.letters - 1 - end).join("")}…${letters.slice(-end).join("")}`;
}

function nodeOf(step, x, y, path) {
  const cell = cellsByAssembly.get(step.id);
  const node = drawing("g", {
    class: `node ${step.action}${path ? " path" : ""}${cell ? " cell" : ""}`, "data-step": step.id,
    transform: `translate(${x} ${y})`,
  });
  node.append(
    drawing("title", {}, `${step.kind}: ${step.label}\n${step.action}: ${step.reason}`),
    drawing("rect", { width: NODE.width, height: NODE.height, rx: 4 }),
    drawing("text", { x: 8, y: 15 }, shortened(step)),
  );
  return node;
}

/** Draws these steps. */
function drawGraph(place, ids) {
  place.replaceChildren();
  if (!ids.length) return;
  const edges = edgesOf(ids);
  const columns = columnsOf(ids);
  const { y, height } = heights(columns, edges);
  const x = new Map();
  columns.forEach((column, i) => column.forEach((id) => x.set(id, i * (NODE.width + NODE.between) + 2)));
  const size = [columns.length * (NODE.width + NODE.between) - NODE.between / 2, height + NODE.head + 4];
  const svg = drawing("svg", { width: size[0], height: size[1], viewBox: `0 0 ${size[0]} ${size[1]}`, role: "img",
    "aria-label": `Graph of ${plural(ids.length, "step")}; the table of steps and the cells' panels have the same in words` });
  const drawn = criticalPath.filter((id) => x.has(id));
  const onPath = new Set(drawn.slice(1).map((id, i) => `${drawn[i]}>${id}`));
  for (const [from, to] of edges) {
    const path = onPath.has(`${from}>${to}`) ? " path" : "";
    svg.append(drawing("path", { class: `edge${path}`, "data-from": from, "data-to": to, d: curve(from, to, x, y) }));
  }
  columns.forEach((column, i) => {
    const title = `${plan.steps[column[0]].kind} (${column.length})`;
    svg.append(drawing("text", { class: "kind", x: i * (NODE.width + NODE.between) + 2, y: 14 }, title));
  });
  for (const id of ids) svg.append(nodeOf(plan.steps[id], x.get(id), y.get(id) + NODE.head, drawn.includes(id)));
  place.append(svg);
}

function curve(from, to, x, y) {
  const middle = (id) => y.get(id) + NODE.head + NODE.height / 2;
  const [left, right] = [x.get(from) + NODE.width, x.get(to)];
  if (right > left) {
    const bend = Math.min(60, (right - left) / 2);
    return `M${left} ${middle(from)}C${left + bend} ${middle(from)} ${right - bend} ${middle(to)} ${right} ${middle(to)}`;
  }
  const end = right + NODE.width;
  return `M${left} ${middle(from)}C${left + 34} ${middle(from)} ${end + 34} ${middle(to)} ${end} ${middle(to)}`;
}

/** Marks the steps of a cell; none when there is no cell. */
function markGraph(place, cell) {
  const svg = place.querySelector("svg");
  if (!svg) return;
  const own = new Set(cell ? stepsOf(cell, false) : []);
  svg.classList.toggle("chosen", cell !== undefined);
  for (const node of svg.querySelectorAll(".node")) node.classList.toggle("in", own.has(Number(node.dataset.step)));
  for (const edge of svg.querySelectorAll(".edge")) {
    edge.classList.toggle("in", own.has(Number(edge.dataset.from)) && own.has(Number(edge.dataset.to)));
  }
}
