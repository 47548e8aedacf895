/* Pictures and sounds of real items, by their numbers on the page. */
const content = JSON.parse(document.getElementById("content").textContent);
const player = new Audio();
let playing = null;

function picture(item) {
  const place = content.pictureOf[item];
  if (place === undefined) return null;
  const node = make("img", "picture");
  node.alt = "";
  node.src = content.pictures[place];
  return node;
}

function stop() {
  player.pause();
  if (!playing) return;
  playing.classList.remove("playing");
  playing.setAttribute("aria-pressed", "false");
  playing = null;
}
player.addEventListener("ended", stop);

function playButton(item) {
  const place = content.soundOf[item];
  if (place === undefined) return null;
  const node = make("button", "play");
  node.type = "button";
  node.setAttribute("aria-label", "Play the sound of " + content.texts[item]);
  node.setAttribute("aria-pressed", "false");
  node.addEventListener("click", () => {
    const again = playing === node;
    stop();
    if (again) return;
    player.src = content.sounds[place];
    player.play().catch((error) => { if (error.name !== "AbortError" && playing === node) stop(); });
    playing = node;
    node.classList.add("playing");
    node.setAttribute("aria-pressed", "true");
  });
  return node;
}

/* The picture of the first item that has one, and one play button for the first item that has a sound. */
function media(...items) {
  const parts = [picture, playButton].map((create) => {
    const item = items.find((one) => (create === picture ? content.pictureOf : content.soundOf)[one] !== undefined);
    return item === undefined ? null : create(item);
  }).filter(Boolean);
  if (!parts.length) return null;
  const node = make("span", "media");
  node.append(...parts);
  return node;
}

function caption(item, lead) {
  const node = make("span", "caption", (lead || "") + content.texts[item]);
  node.dir = "auto";
  node.title = content.texts[item];
  return node;
}

for (const node of document.querySelectorAll("[data-item]")) {
  const shown = media(Number(node.dataset.item));
  if (shown) node.prepend(shown);
}
