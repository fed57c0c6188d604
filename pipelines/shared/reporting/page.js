// Makes tables sortable: a click (or Enter) on a heading sorts by that column; without this script they are readable as they are.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = head.textContent;
    head.replaceChildren(button);
    button.addEventListener("click", () => {
      const direction = head.getAttribute("aria-sort") === "descending" ? 1 : -1;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", direction === 1 ? "ascending" : "descending");
      const value = (row) => row.cells[column].dataset.value ?? row.cells[column].textContent.trim();
      const number = (text) => (text === "" ? NaN : Number(text));
      const compare = (a, b) => {
        const [x, y] = [number(value(a)), number(value(b))];
        if (Number.isNaN(x) && Number.isNaN(y)) return value(a).localeCompare(value(b));
        if (Number.isNaN(x)) return direction;
        if (Number.isNaN(y)) return -direction;
        return x - y;
      };
      const body = table.tBodies[0];
      body.append(...[...body.rows].sort((a, b) => direction * compare(a, b)));
    });
  });
}
