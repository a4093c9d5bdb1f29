// The open cell.

function stepLine(step) {
  const line = element("li", { "data-step": step.id }, badge(step.action), ` ${step.kind} `, code(step.label));
  line.append(element("div", { class: "soft" }, step.reason));
  return line;
}

function tagLine(tag, expected) {
  const line = element("li", {}, code(tag.reference), element("br"));
  const has = tag.digest ? digest(tag.digest) : "nothing";
  if (expected && tag.digest === expected) line.append(has, " as expected");
  else line.append(has, " → ", expected ? digest(expected) : "known when it is built");
  return line;
}

function layerLine(id) {
  const place = plan.steps[id];
  const artifacts = place.needs.map((need) => plan.steps[need]).filter((step) => step.kind === "artifact");
  return element("li", {}, element("ul", { class: "plain" }, ...[...artifacts, place].map(stepLine)));
}

function cellLink(name) {
  return cellsByName.has(name) ? element("a", { href: linkTo(name) }, code(name)) : code(name);
}

const linkTo = (name) => `#cell=${encodeURIComponent(name)}`;

function list(title, lines, ordered) {
  return lines.length ? [element("h3", {}, title), element(ordered ? "ol" : "ul", {}, ...lines)] : [];
}

/** Fills the panel with a cell. */
function drawPanel(panel, cell) {
  const status = state(cell);
  const own = stepsOf(cell, true).map((id) => plan.steps[id]);
  const upstream = own.filter((step) => step.id !== cell.assemble && cellsByAssembly.has(step.id));
  const layered = new Set(cell.layers.flatMap((id) => [id, ...plan.steps[id].needs.filter((n) => plan.steps[n].kind === "artifact")]));
  const others = own.filter((step) => !layered.has(step.id) && !upstream.includes(step));
  others.sort((a, b) => KINDS.indexOf(a.kind) - KINDS.indexOf(b.kind) || a.id - b.id);
  const about = [badge(status), ` ${meaning(status)}`];
  if (!cell.chosen) about.push("; not asked for itself, only needed by others");
  if (touched.has(cell.name)) about.push(`; ${touched.get(cell.name)} by the what-if`);
  const expected = cell.digest ? digest(cell.digest) : "known when it is built";
  panel.replaceChildren(
    element("button", { type: "button", class: "close" }, "Close"),
    element("h2", { id: "panel-name" }, ...breakable(cell.name)),
    element("p", { class: "status" }, ...about),
    element("div", { class: "reasons" }, ...list("Why", (cell.reasons || []).map(reasonLine))),
    ...list("Goes to", cell.references.map((reference) => element("li", {}, code(reference)))),
    element("h3", {}, "Expected image"), element("div", { class: "expected" }, expected),
    element("div", { class: "tags" }, ...list("Tags now → then", (cell.tags || []).map((tag) => tagLine(tag, cell.digest)))),
    ...list("Made from", upstream.map((step) => element("li", {}, cellLink(cellsByAssembly.get(step.id).name)))),
    element("div", { class: "layers" }, ...list("Layers, lowest first", cell.layers.map(layerLine), true)),
    ...list("Other steps", others.map(stepLine)),
    element("h3", {}, "Build id"), digest(cell.build_id),
  );
}
