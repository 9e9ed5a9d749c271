// The order of search results: guides first, then the reference, then the history of the project.
//
// A name of the API is found by its full name before the text of guides, and by a part of it after them.
// The numbers are those of Sphinx (searchtools.js), unless a comment says otherwise.
var Scorer = {
  objNameMatch: 15,
  objPartialMatch: 6,
  objPrio: { 0: 0, 1: 0, 2: -5 }, // modules are 15 there, and functions 5
  objPrioDefault: 0,
  title: 15,
  partialTitle: 7,
  term: 5,
  partialTerm: 2,

  score: ([page, name, , , score, , kind]) => {
    if (kind === "object") return name.split(".").at(-1).startsWith("test_") ? score - 15 : score;
    if (page.startsWith("project/") || page === "decisions") return score / 4;
    if (page.startsWith("reference/distributions/")) return score * 1.5;
    return page.startsWith("reference/") ? score : score * 2;
  },
};
