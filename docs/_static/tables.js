// Gives each cell of a table the name of its column, which site.css shows on narrow screens.
document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("article table.docutils")) {
    const columns = [...table.querySelectorAll("thead th")].map((head) => head.innerText.trim());
    for (const row of table.querySelectorAll("tbody tr")) {
      [...row.cells].forEach((cell, index) => {
        if (index > 0 && cell.textContent.trim()) cell.dataset.column = columns[index] ?? "";
      });
    }
  }
});
