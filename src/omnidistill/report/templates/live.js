/* Reload the page, keep its scroll position, and leave open what is open. */
{
  const key = "omnidistill " + location.pathname, details = [...document.querySelectorAll("details")];
  try {
    const before = JSON.parse(sessionStorage.getItem(key));
    if (before) {
      before.open.forEach((open, number) => { if (details[number]) details[number].open = open; });
      scrollTo(0, before.scroll);
    }
  } catch { /* the browser does not store anything for local files: it keeps the scroll position itself */ }
  setTimeout(() => {
    try {
      sessionStorage.setItem(key, JSON.stringify({ scroll: scrollY, open: details.map((one) => one.open) }));
    } catch { /* see above */ }
    location.reload();
  }, 1000 * Number(document.getElementById("reload").dataset.seconds));
}
