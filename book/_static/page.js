// What every page of the book needs on top of its theme.
document.addEventListener("DOMContentLoaded", function () {
  const article = document.querySelector(".bd-article");
  if (!article) return;

  // An empty corner of a table is no heading.
  article.querySelectorAll("th:empty").forEach(function (corner) {
    corner.replaceWith(document.createElement("td"));
  });
  // The words "Show code cell output" name the switch; a label that differs hides them.
  article.querySelectorAll("summary[aria-label]").forEach(function (summary) {
    summary.removeAttribute("aria-label");
  });

  // What is wider than the page scrolls: keys must reach it, and its edge says so.
  const wide = article.querySelectorAll("pre, div.math, .cell_output .output, .pst-scrollable-table-container");
  const watch = new ResizeObserver(function (entries) {
    entries.forEach(function (entry) {
      const box = entry.target;
      const scrolls = box.scrollWidth > box.clientWidth + 1 || box.scrollHeight > box.clientHeight + 1;
      box.classList.toggle("scrolls", box.scrollWidth > box.clientWidth + 1);
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    });
  });
  wide.forEach(function (box) {
    watch.observe(box);
    box.addEventListener("scroll", function () {
      box.classList.toggle("scrolled", box.scrollLeft + box.clientWidth >= box.scrollWidth - 1);
    });
  });

  // On paper nothing can be opened.
  let closed = [];
  window.addEventListener("beforeprint", function () {
    closed = [...document.querySelectorAll("details:not([open])")];
    closed.forEach((details) => (details.open = true));
  });
  window.addEventListener("afterprint", function () {
    closed.forEach((details) => (details.open = false));
  });
});
