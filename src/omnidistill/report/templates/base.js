"use strict";
function make(tag, className, text) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

/* The button for light and dark colours. */
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

/* A note above every table that is wider than the window. */
function watchWidth(region) {
  const hint = make("p", "scroll-hint", "Scroll the table sideways to see all columns →");
  hint.hidden = true;
  region.before(hint);
  if (region.dataset.level) {
    hint.classList.add("level");
    hint.dataset.level = region.dataset.level;
  }
  const update = () => {
    const left = region.scrollWidth - region.clientWidth;
    hint.hidden = left <= 1;
    region.classList.toggle("continues", left - region.scrollLeft > 1);
  };
  new ResizeObserver(update).observe(region);
  region.addEventListener("scroll", update, { passive: true });
  update();
}
document.querySelectorAll(".scroll").forEach(watchWidth);

/* Downloads of figures. A file always has the light colours, on white. */
const NAMESPACE = "http://www.w3.org/2000/svg", PIXELS_PER_UNIT = 3;

function figureSize(drawn) {
  const [, , width, height] = drawn.tagName === "IMG" ? [0, 0, drawn.naturalWidth, drawn.naturalHeight] : drawn.getAttribute("viewBox").split(" ").map(Number);
  return [width, height];
}

function asFile(drawn) {
  const [width, height] = figureSize(drawn);
  const file = document.createElementNS(NAMESPACE, "svg"), white = document.createElementNS(NAMESPACE, "rect");
  for (const [name, value] of Object.entries({ viewBox: `0 0 ${width} ${height}`, width, height, color: "#1d1d1f", fill: "#1d1d1f", "font-family": "system-ui, sans-serif", "font-size": "12.5" })) file.setAttribute(name, value);
  for (const [name, value] of Object.entries({ width: "100%", height: "100%", fill: "#fff" })) white.setAttribute(name, value);
  file.append(white);
  if (drawn.tagName === "IMG") {
    const image = document.createElementNS(NAMESPACE, "image");
    for (const [name, value] of Object.entries({ href: drawn.src, width, height, "image-rendering": "pixelated" })) image.setAttribute(name, value);
    file.append(image);
  } else {
    file.append(...drawn.cloneNode(true).childNodes);
  }
  return new XMLSerializer().serializeToString(file);
}

async function asPicture(drawn) {
  const image = new Image(), canvas = make("canvas"), [width, height] = figureSize(drawn);
  const scale = drawn.tagName === "IMG" ? Math.max(1, Math.round(1200 / width)) : PIXELS_PER_UNIT;
  image.src = "data:image/svg+xml;charset=utf-8," + encodeURIComponent(asFile(drawn));
  await image.decode();
  canvas.width = scale * width;
  canvas.height = scale * height;
  canvas.getContext("2d").drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done) => canvas.toBlob(done, "image/png"));
}

async function download(drawn, title, type) {
  const file = type === "SVG" ? new Blob([asFile(drawn)], { type: "image/svg+xml" }) : await asPicture(drawn);
  const link = make("a");
  link.href = URL.createObjectURL(file);
  link.download = title.toLowerCase().replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-|-$/g, "").slice(0, 60) + "." + type.toLowerCase();
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10000);
}

for (const drawn of document.querySelectorAll("figure > .chart:first-of-type, figure > .matrix")) {
  const title = drawn.tagName === "IMG" ? drawn.dataset.title : drawn.querySelector("title").textContent;
  const row = make("p", "downloads", "Download");
  for (const type of ["SVG", "PNG"]) {
    const button = make("button", "", type);
    button.type = "button";
    button.setAttribute("aria-label", `Download ${type}: ${title}`);
    button.addEventListener("click", () => download(drawn, title, type));
    row.append(button);
  }
  drawn.parentElement.append(row);
}

addEventListener("beforeprint", () => document.querySelectorAll("footer details, .further-cases").forEach((node) => { node.open = true; }));
