"use strict";

// A long page shows one of its sections at a time; the reader may ask for all, and paper gets all. The address names the
// section, so that links, the list of contents and the way back work as on any page.
const article = document.querySelector("article.bd-article > section");
const sections = [...(article?.querySelectorAll(":scope > section") ?? [])];

if (sections.length > 2) {
  const titleOf = (section) => section.querySelector("h2").firstChild.textContent;
  const whole = () => localStorage.getItem("glassnet-whole-page") === "yes";
  const linkTo = (section, label) => {
    const link = document.createElement("a");
    link.href = section ? `#${section.id}` : "#";
    link.textContent = label;
    return link;
  };

  const nav = document.createElement("nav");
  nav.className = "sections";
  nav.setAttribute("aria-label", "Sections of this page");
  const toggle = document.createElement("button");
  toggle.addEventListener("click", () => {
    localStorage.setItem("glassnet-whole-page", whole() ? "no" : "yes");
    show();
  });
  article.append(nav);

  // Page 0 is all before the first section, together with that section.
  function show() {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const index = Math.max(0, sections.findIndex((section) => section.contains(target)));
    const all = whole();
    sections.forEach((section, number) => section.classList.toggle("other-section", !all && number !== index));
    for (const element of article.children) {
      if (!sections.includes(element) && element !== nav && element.tagName !== "H1") {
        element.classList.toggle("other-section", !all && index > 0);
      }
    }
    const before = sections[index - 1], after = sections[index + 1];
    toggle.textContent = all ? "One section at a time" : `Show the whole page (${sections.length} sections)`;
    nav.replaceChildren(
      ...(before && !all ? [linkTo(index > 1 ? before : null, `← ${titleOf(before)}`)] : []),
      ...(after && !all ? [linkTo(after, `${titleOf(after)} →`)] : []),
      toggle,
    );
    if (target) target.scrollIntoView();
  }

  addEventListener("hashchange", () => {
    show();
    if (!location.hash) scrollTo(0, 0);
  });
  show();
}
