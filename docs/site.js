/* What the theme lacks for keyboards and screen readers: boxes that scroll can be reached by Tab, and the search dialog
 * and the buttons of each code block have names. The theme adds elements after the page has loaded. */

function improve() {
  document.querySelector(".md-search")?.setAttribute("aria-label", "Search");
  document.querySelectorAll(".md-code__nav").forEach((nav, number) => {
    nav.setAttribute("aria-label", `Code block ${number + 1}`);
  });
  for (const box of document.querySelectorAll(".md-typeset__scrollwrap, .md-typeset pre > code")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
    else box.removeAttribute("tabindex");
  }
}

let next = 0;
function later() {
  cancelAnimationFrame(next);
  next = requestAnimationFrame(improve);
}

improve();
addEventListener("resize", later);
new MutationObserver(later).observe(document.body, { childList: true, subtree: true });
