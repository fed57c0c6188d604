// Sorts tables by a click (or Enter) on a heading, and filters the leaderboard. Without it the page is readable as it is.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
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

const boards = [...document.querySelectorAll(".board")];
if (boards.length) {
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const rows = (board) => [...board.querySelectorAll("tr[data-pack]")];
  const choice = (label, values) => {
    const options = [...new Set(values)].sort().map((value) => make("option", { value, textContent: value }));
    const select = make("select", {}, make("option", { value: "", textContent: "all" }), ...options);
    return [select, make("label", {}, label, select)];
  };
  const text = make("input", { type: "search", autocomplete: "off", spellcheck: false });
  const [task, taskLabel] = choice("Task", boards.map((board) => board.dataset.task));
  const [pack, packLabel] = choice("Trained on", boards.flatMap(rows).map((row) => row.dataset.pack));
  const state = make("output", {});
  state.setAttribute("aria-live", "polite");
  const form = make("form", { className: "filter" }, make("label", {}, "Model", text), taskLabel, packLabel,
    make("button", { type: "reset", textContent: "Show all" }), state);
  form.setAttribute("role", "search");
  form.setAttribute("aria-label", "Filter the leaderboard");
  const apply = () => {
    const wanted = text.value.trim().toLowerCase();
    let shown = 0;
    let total = 0;
    for (const board of boards) {
      let here = 0;
      for (const row of rows(board)) {
        const name = row.cells[0].textContent.toLowerCase();
        row.hidden = !name.includes(wanted) || (pack.value !== "" && pack.value !== row.dataset.pack);
        here += row.hidden ? 0 : 1;
        total += 1;
      }
      board.hidden = (task.value !== "" && task.value !== board.dataset.task) || (here === 0 && rows(board).length > 0);
      shown += board.hidden ? 0 : here;
    }
    state.textContent = `${shown} of ${total} rows shown`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  boards[0].before(form);
  apply();
}
