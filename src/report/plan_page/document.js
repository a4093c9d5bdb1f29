"use strict";
// The plan, and what is read out of it.

const plan = JSON.parse(document.getElementById("plan").textContent);

const KINDS = ["resolve", "index", "artifact", "dockerfile", "setup", "place", "assemble", "push", "load", "check", "tag"];
const DELIVERY = new Set(["push", "load", "check", "tag"]);

/** How a cell stands: sign in its square, and what it means. */
const STATUSES = {
  current: ["✓", "every tag has the image"],
  stale: ["S", "a tag has an earlier image"],
  missing: ["M", "a tag is not there"],
  foreign: ["F", "a tag has an image that railyard did not make"],
  unbuilt: ["U", "not pushed, and not built"],
};

/** What happens to a step; of a cell's assembly where nobody was asked how the cell stands. */
const ACTIONS = {
  run: ["R", "to be made"],
  reuse: ["=", "known already"],
  skip: ["–", "nothing needs it"],
};

const REASONS = {
  "never-built": "No image of it was ever seen",
  "version-added": "A value is new on an axis",
  "base-moved": "The base has moved",
  "base-changed": "The manifest names another base",
  "layer-changed": "A layer is defined otherwise",
  "layer-added": "A layer is new",
  "layer-removed": "A layer is gone",
  "source-moved": "An image that is copied from or run in has moved",
  "tool-moved": "A download has another version or content",
  "upstream-changed": "A cell that this one is made from has changed",
  "setup-changed": "A step on the base is defined otherwise",
  "config-changed": "The configuration is another",
  "dockerfile-changed": "The Dockerfile or its context is another",
  "railyard-changed": "Railyard itself makes it otherwise now",
  "too-old": "A result is older than it may be",
  "forced": "Asked for by --force",
  "tag-moved": "A tag that had the image has another now",
  "tag-fixed": "A tag must not move, and would: the build will be refused",
  "tag-deleted": "A tag that was there is gone",
  "unrecorded": "Its inputs are as they were, but no record of its layers is at hand",
  "foreign": "Railyard did not make what the tag has",
};

/** An element; children are elements or text, and text stays text. */
function element(name, attributes, ...children) {
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (value !== undefined && value !== false) made.setAttribute(key, value === true ? "" : value);
  }
  made.append(...children.filter((child) => child !== undefined && child !== ""));
  return made;
}

/** Text that may be broken after commas, slashes and brackets. */
function breakable(text) {
  return text.split(/(?<=[,[/])/).flatMap((part) => [part, element("wbr")]);
}

const code = (text) => element("code", {}, text);
const count = (number) => number.toLocaleString("en-US");
const plural = (number, noun) => `${count(number)} ${noun}${number === 1 ? "" : "s"}`;

/** Twelve digits of a digest, the whole of it on hover. */
function digest(text) {
  const short = /^sha256:[0-9a-f]{64}$/.test(text) ? text.slice(0, 19) : text;
  return element("code", { title: text }, short);
}

function bytes(number) {
  const [unit, divisor, places] = number < 1e3 ? ["B", 1, 0] : number < 1e6 ? ["kB", 1e3, 1]
    : number < 1e9 ? ["MB", 1e6, 1] : ["GB", 1e9, 2];
  return `${(number / divisor).toFixed(places)} ${unit}`;
}

function memory(number) {
  const mib = number / 1048576;
  return mib < 1024 ? `${mib.toFixed(0)} MiB` : `${(mib / 1024).toFixed(1)} GiB`;
}

function duration(seconds) {
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  return whole < 60 ? `${whole} s` : `${Math.floor(whole / 60)} m ${String(whole % 60).padStart(2, "0")} s`;
}

/** A cell's status, or the action of its assembly where there is none. */
const state = (cell) => cell.status || plan.steps[cell.assemble].action;
const sign = (name) => (STATUSES[name] || ACTIONS[name])[0];
const meaning = (name) => (STATUSES[name] || ACTIONS[name])[1];
const badge = (name) => element("span", { class: `badge ${name}` }, name);

/** A reason as a sentence; old and new stay with it. */
function reasonLine(reason) {
  const line = element("li", { "data-code": reason.code }, REASONS[reason.code] || reason.code);
  if (reason.subject) line.append(": ", code(reason.subject));
  if (reason.old !== undefined && reason.new !== undefined) {
    line.append(", ", digest(reason.old), " → ", digest(reason.new));
  } else if (reason.old !== undefined) {
    line.append(", was ", digest(reason.old));
  } else if (reason.new !== undefined) {
    line.append(", now ", digest(reason.new));
  }
  return line;
}

/** A cell's axes in the image's order, which its name has. */
function axesOf(cell) {
  const names = Object.keys(cell.axes);
  const found = [];
  let at = cell.image.length + 1;
  while (found.length < names.length) {
    const next = names.find((n) => !found.includes(n) && cell.name.startsWith(`${n}=${cell.axes[n]}`, at));
    if (next === undefined) return names;
    found.push(next);
    at += next.length + cell.axes[next].length + 2;
  }
  return found;
}

const cellsByName = new Map(plan.cells.map((cell) => [cell.name, cell]));

/** The first cell of each assembly; equal cells share one. */
const cellsByAssembly = new Map([...plan.cells].reverse().map((cell) => [cell.assemble, cell]));

let dependents;

/** Ids of the steps that need a step. */
function dependentsOf(id) {
  if (!dependents) {
    dependents = plan.steps.map(() => []);
    for (const step of plan.steps) for (const need of step.needs) dependents[need].push(step.id);
  }
  return dependents[id];
}

function reach(start, next) {
  const found = new Set(start);
  const stack = [...start];
  while (stack.length) {
    for (const id of next(stack.pop())) {
      if (!found.has(id)) {
        found.add(id);
        stack.push(id);
      }
    }
  }
  return found;
}

/** Ids of the steps that deliver a cell. */
function deliveryOf(cell) {
  const all = reach([cell.assemble], (id) =>
    dependentsOf(id).filter((next) => DELIVERY.has(plan.steps[next].kind)));
  const tags = [...all].filter((id) => plan.steps[id].kind === "tag" && plan.steps[id].label === cell.name);
  return tags.length ? reach(tags, (id) => plan.steps[id].needs.filter((need) => all.has(need))) : all;
}

/** Ids of a cell's steps: what its assembly needs, and its delivery; `own` stops at other cells. */
function stepsOf(cell, own) {
  const below = reach([cell.assemble], (id) =>
    own && id !== cell.assemble && cellsByAssembly.has(id) ? [] : plan.steps[id].needs);
  return [...new Set([...below, ...deliveryOf(cell)])].sort((a, b) => a - b);
}

/** Cells that supposed changes make other images, or add. */
const touched = new Map(plan.what_if
  ? [...plan.what_if.changed.map((name) => [name, "changed"]), ...plan.what_if.added.map((name) => [name, "added"])]
  : []);
