/* Reload the page, keep its scroll position, and leave open what is open. */
{
  const details = [...document.querySelectorAll("details")];
  if (history.state) {
    history.state.open.forEach((open, number) => { if (details[number]) details[number].open = open; });
    scrollTo(0, history.state.scroll);
  }
  setTimeout(() => {
    history.replaceState({ scroll: scrollY, open: details.map((one) => one.open) }, "");
    location.reload();
  }, 1000 * Number(document.getElementById("reload").dataset.seconds));
}
