"use strict";

/* The conversation menu, the confirmation before deleting, the facts about the chosen model, and the shortcut for a new
   chat. */
(() => {
  const byId = (id) => document.getElementById(id);

  // --- The menu that all conversations share: before it opens, its forms are pointed at the chosen one. ---

  document.addEventListener("click", (event) => {
    const button = event.target.closest('[popovertarget="conversation-menu"]');
    if (!button) return;
    const link = button.parentElement.querySelector(".conversations__link");
    const url = link?.href ?? location.origin + location.pathname;
    const title = (link ?? byId("title")).textContent.trim();
    const isOpenForAnother = byId("conversation-menu").matches(":popover-open") && byId("rename").action !== `${url}rename/`;
    if (isOpenForAnother) byId("conversation-menu").hidePopover();
    for (const name of ["rename", "delete"]) {
      byId(name).action = `${url}${name}/`;
      byId(name).setAttribute("hx-post", `${url}${name}/`);
    }
    byId("rename-title").value = title;
    byId("export").href = `${url}export/`;
    byId("delete").dataset.title = title;
  }, true);

  // --- Confirmation before an action that can't be undone ---

  const ask = (form) => {
    const dialog = byId("confirm");
    byId("confirm-text").textContent = form.dataset.confirm.replace("{title}", () => form.dataset.title ?? "");
    dialog.returnValue = "";
    dialog.addEventListener("close", () => {
      if (dialog.returnValue !== "yes") return;
      form.dataset.confirmed = "";
      form.requestSubmit();
    }, { once: true });
    dialog.showModal();
  };

  const forgetDrafts = (isMeant) => {
    try {
      for (const key of Object.keys(localStorage)) if (key.startsWith("draft:") && isMeant(key)) localStorage.removeItem(key);
    } catch {
      // Without storage there are no drafts.
    }
  };

  // This runs before htmx, which listens on the form itself.
  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.confirm && !("confirmed" in form.dataset)) {
      event.preventDefault();
      event.stopImmediatePropagation();
      ask(form);
      return;
    }
    delete form.dataset.confirmed;
    if (form.id === "delete") {
      forgetDrafts((key) => form.action.includes(key.split(":").at(-1)));
    } else if ("forgetDrafts" in form.dataset) {
      forgetDrafts(() => true); // The next user of this browser must not find them.
    }
  }, true);

  // --- After a conversation was renamed or deleted, the page stays where it is. ---

  document.addEventListener("htmx:after:swap", ({ detail: { ctx } }) => {
    const form = ctx.sourceElement;
    if (form.id !== "rename" && form.id !== "delete") return;
    byId("conversation-menu").hidePopover();
    if (document.activeElement?.checkVisibility() && document.activeElement !== document.body) return;
    // The button that opened the menu was in the list, which is new.
    const links = Array.from(document.querySelectorAll(".conversations__link"));
    const link = links.find(({ href }) => form.action.startsWith(href));
    (link ?? document.querySelector(".sidebar__new")).focus({ preventScroll: true });
  });

  // --- Facts about the model: only those of the chosen one are visible. ---

  byId("model")?.addEventListener("change", (event) => {
    for (const element of document.querySelectorAll("[data-model]")) {
      element.hidden = element.dataset.model !== event.target.value;
    }
    const longest = Number(event.target.selectedOptions[0].dataset.longestAnswer);
    byId("max-tokens").max = longest;
    byId("max-tokens").placeholder = longest.toLocaleString(document.documentElement.lang);
  });

  // --- Ctrl+Shift+O starts a new chat. ---

  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || !event.shiftKey || event.code !== "KeyO") return;
    event.preventDefault();
    document.querySelector(".sidebar__new").click();
  });
})();
