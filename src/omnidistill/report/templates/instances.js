/* The browsable list of synthetic rows: [number, initial item or -1, agrees, traces], see page_items.py. */
const FIRST_CARDS = content.runs.length > 1 ? 6 : 12, FURTHER_CARDS = 24, HOVER_DELAY = 350;

function number(value) {
  return value.toFixed(2).replace("-", "−");
}

/* Modalities whose nearest items have the same picture or the same caption are shown together, with one caption. */
function together(traces) {
  const groups = new Map();
  for (const trace of traces) {
    const item = trace[2], place = content.pictureOf[item];
    const key = place === undefined ? content.texts[item] : place;
    groups.set(key, [...(groups.get(key) || []), trace]);
  }
  return [...groups.values()];
}

function near(traces) {
  const node = make("div", "near"), text = make("div"), items = traces.map((trace) => trace[2]);
  const shortest = items.reduce((best, item) => (content.texts[item].length < content.texts[best].length ? item : best));
  text.append(make("span", "names", traces.map((trace) => trace[0]).join(" · ")), caption(shortest));
  node.append(...[media(...items), text].filter(Boolean));
  return node;
}

function facts([, start, , traces]) {
  const node = make("div", "more-facts"), list = make("dl");
  node.tabIndex = -1; /* a click on it keeps the focus in the card, so that its text can be selected */
  for (const [modality, move, ...nearest] of traces) {
    const shown = make("dd"), rows = make("ul");
    for (let place = 0; place < nearest.length; place += 2) {
      const row = make("li");
      row.append(caption(nearest[place]), make("span", "", number(nearest[place + 1])));
      rows.append(row);
    }
    shown.append(rows);
    if (move) shown.append(make("div", "small", `initial item: cosine ${number(move[0])}, distance ${number(move[1])}`));
    list.append(make("dt", "", modality), shown);
  }
  node.append(list);
  if (start >= 0) {
    const initial = make("p", "small");
    initial.append(caption(start, "initialised with "));
    node.prepend(initial);
  }
  return node;
}

function details(row, card) {
  const node = make("details"), summary = make("summary", "", "Details"), change = changed(row);
  if (change !== null) summary.textContent = `Change ${number(change)}: details`;
  let wait = 0, pinned = false;
  const close = () => { node.open = pinned = false; };
  summary.addEventListener("click", (event) => {
    event.preventDefault();
    pinned = !pinned;
    node.open = pinned;
  });
  node.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !node.open) return;
    close();
    summary.focus();
  });
  node.addEventListener("focusout", (event) => { if (!node.contains(event.relatedTarget)) close(); });
  card.addEventListener("pointerenter", (event) => {
    if (event.pointerType === "mouse") wait = setTimeout(() => { node.open = true; }, HOVER_DELAY);
  });
  card.addEventListener("pointerleave", () => {
    clearTimeout(wait);
    if (!pinned) node.open = false;
  });
  node.append(summary, facts(row));
  return node;
}

function card(row) {
  const [index, start, agrees, traces] = row;
  const node = make("li", "card"), title = make("h3", "", "Row " + index), nearest = make("div", "nearest");
  node.tabIndex = -1;
  if (agrees) title.append(make("span", "badge", "modalities agree"));
  nearest.append(...together(traces).map(near));
  node.append(title, nearest);
  const shown = traces.flatMap((trace) => [content.texts[trace[2]], content.pictureOf[trace[2]]]);
  if (start >= 0 && !shown.includes(content.texts[start]) && !shown.includes(content.pictureOf[start] ?? null)) {
    const initial = make("p", "start");
    initial.append(...[picture(start), caption(start, "was ")].filter(Boolean));
    node.append(initial);
  }
  node.append(details(row, node));
  return node;
}

const mean = (values) => values.reduce((sum, value) => sum + value, 0) / values.length;
const similarity = ([, , , traces]) => mean(traces.map((one) => one[3]));
const changed = ([, , , traces]) => (traces.every((one) => one[1]) ? mean(traces.map((one) => 1 - one[1][0])) : null);
const words = ([, start, , traces]) =>
  [start, ...traces.flatMap((one) => one.slice(2).filter((_, place) => place % 2 === 0))]
    .map((item) => (item < 0 ? "" : content.texts[item]))
    .join("\n")
    .toLocaleLowerCase();
const orders = {
  number: (a, b) => a.row[0] - b.row[0],
  moved: (a, b) => b.changed - a.changed,
  stayed: (a, b) => a.changed - b.changed,
  near: (a, b) => b.similarity - a.similarity,
  far: (a, b) => a.similarity - b.similarity,
  caption: (a, b) => a.first.localeCompare(b.first),
};

function browse(section) {
  const rows = content.runs[section.dataset.run].map((row) => ({
    row, changed: changed(row), similarity: similarity(row), words: words(row), first: content.texts[row[3][0][2]],
  }));
  const list = section.querySelector(".cards"), more = section.querySelector(".more");
  const search = section.querySelector("input"), order = section.querySelector("select"), count = section.querySelector("output");
  let matches = [];

  function showMore(focus) {
    const count = focus ? FURTHER_CARDS : FIRST_CARDS;
    const next = matches.slice(list.children.length, list.children.length + count).map((one) => card(one.row));
    list.append(...next);
    const left = matches.length - list.children.length;
    more.hidden = left === 0;
    more.firstElementChild.textContent = "Show " + Math.min(left, FURTHER_CARDS) + " more";
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
document.querySelectorAll("[data-run]").forEach(browse);
