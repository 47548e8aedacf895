"use strict";
const content = JSON.parse(document.getElementById("content").textContent);
const CARDS_PER_PAGE = 24;

function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

function picture(item) {
  const place = content.pictureOf[item];
  if (place === undefined) return null;
  const node = make("img", "picture");
  node.alt = "";
  node.src = content.pictures[place];
  return node;
}

function sound(item) {
  const place = content.soundOf[item];
  if (place === undefined) return null;
  const node = make("audio");
  node.controls = true;
  node.preload = "none";
  node.src = content.sounds[place];
  node.setAttribute("aria-label", "sound of " + content.texts[item]);
  return node;
}

function caption(item) {
  const node = make("span", "caption", content.texts[item]);
  node.dir = "auto";
  node.title = content.texts[item];
  return node;
}

function number(value) {
  return value.toFixed(2).replace("-", "−");
}

function meter(value) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const bar = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  svg.setAttribute("class", "meter");
  svg.setAttribute("aria-hidden", "true");
  bar.setAttribute("width", 100 * Math.max(0, Math.min(1, value)) + "%");
  bar.setAttribute("height", "3");
  svg.append(bar);
  return svg;
}

function trace([modality, move, nearest, cosine, ...others]) {
  const name = make("dt", "", modality), shown = make("dd");
  const item = make("div", "item");
  item.append(...[picture(nearest), caption(nearest)].filter(Boolean), make("span", "cosine", number(cosine)));
  shown.append(item, ...[sound(nearest)].filter(Boolean), meter(cosine));
  if (others.length) {
    const near = make("div", "small");
    near.append("next: ");
    for (let place = 0; place < others.length; place += 2) {
      if (place) near.append(" · ");
      near.append(caption(others[place]), " " + number(others[place + 1]));
    }
    near.title = near.textContent;
    shown.append(near);
  }
  if (move) shown.append(make("div", "small", "change from the initial item: cosine " + number(move[0]) + ", distance " + number(move[1])));
  return [name, shown];
}

function card([index, start, agrees, traces]) {
  const node = make("li", "card"), title = make("h3", "", "Row " + index), list = make("dl");
  node.tabIndex = -1;
  if (agrees) title.append(make("span", "badge", "modalities agree"));
  node.append(title);
  if (start >= 0) {
    const initial = make("p", "start");
    const text = make("span", "caption", "initialised with " + content.texts[start]);
    text.dir = "auto";
    initial.append(...[picture(start), text].filter(Boolean));
    node.append(initial);
  }
  list.append(...traces.flatMap(trace));
  node.append(list);
  return node;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const similarity = ([, , , traces]) => mean(traces.map((one) => one[3]));
const unchanged = ([, , , traces]) => mean(traces.map((one) => (one[1] ? one[1][0] : 1)));
const words = ([, start, , traces]) =>
  [start, ...traces.flatMap((one) => one.slice(2).filter((_, place) => place % 2 === 0))]
    .map((item) => (item < 0 ? "" : content.texts[item]))
    .join("\n")
    .toLocaleLowerCase();
const orders = {
  number: (a, b) => a.row[0] - b.row[0],
  moved: (a, b) => a.unchanged - b.unchanged,
  stayed: (a, b) => b.unchanged - a.unchanged,
  near: (a, b) => b.similarity - a.similarity,
  far: (a, b) => a.similarity - b.similarity,
  caption: (a, b) => a.first.localeCompare(b.first),
};

function browse(section) {
  const rows = content.runs[section.dataset.run].map((row) => ({
    row, unchanged: unchanged(row), similarity: similarity(row), words: words(row), first: content.texts[row[3][0][2]],
  }));
  const list = section.querySelector(".cards"), more = section.querySelector(".more");
  const search = section.querySelector("input"), order = section.querySelector("select"), count = section.querySelector("output");
  let matches = [];

  function showMore(focus) {
    const next = matches.slice(list.children.length, list.children.length + CARDS_PER_PAGE).map((one) => card(one.row));
    list.append(...next);
    const left = matches.length - list.children.length;
    more.hidden = left === 0;
    more.firstElementChild.textContent = "Show " + Math.min(left, CARDS_PER_PAGE) + " more";
    if (focus && next.length) next[0].focus({ preventScroll: true });
  }

  function update() {
    const query = search.value.trim().toLocaleLowerCase();
    matches = rows.filter((one) => one.words.includes(query)).sort(orders[order.value]);
    count.value = matches.length + " of " + rows.length;
    list.replaceChildren();
    showMore(false);
  }

  section.querySelector("form").addEventListener("submit", (event) => event.preventDefault());
  search.addEventListener("input", update);
  order.addEventListener("change", update);
  more.firstElementChild.addEventListener("click", () => showMore(true));
  section.querySelector(".tools").hidden = false;
  update();
}

for (const node of document.querySelectorAll("[data-item]")) {
  const item = Number(node.dataset.item), shown = picture(item), heard = sound(item);
  if (shown) node.prepend(shown);
  if (heard) node.append(heard);
}
for (const section of document.querySelectorAll("[data-run]")) browse(section);

const theme = document.getElementById("theme"), root = document.documentElement;
const isDark = () => (root.dataset.theme || (matchMedia("(prefers-color-scheme: dark)").matches ? "dark" : "light")) === "dark";
const nameTheme = () => { theme.textContent = isDark() ? "Light" : "Dark"; };
theme.hidden = false;
theme.addEventListener("click", () => {
  root.dataset.theme = isDark() ? "light" : "dark";
  nameTheme();
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", nameTheme);
nameTheme();
