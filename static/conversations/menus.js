"use strict";

/* The menus around the conversation: which one the menu is about, a question before something is deleted, what the chosen
   model is, and one key for a new chat. */
(() => {
  const byId = (id) => document.getElementById(id);

  // --- One menu for all conversations: before it opens, its forms learn which one it is about. ---

  document.addEventListener("click", (event) => {
    const button = event.target.closest('[popovertarget="conversation-menu"]');
    if (!button) return;
    const link = button.parentElement.querySelector(".conversations__link");
    const url = link?.href ?? location.origin + location.pathname;
    const title = (link ?? byId("title")).textContent.trim();
    const isOpenForAnother = byId("conversation-menu").matches(":popover-open") && byId("rename").action !== `${url}rename/`;
    if (isOpenForAnother) byId("conversation-menu").hidePopover();
    byId("rename").action = `${url}rename/`;
    byId("rename-title").value = title;
    byId("export").href = `${url}export/`;
    byId("delete").action = `${url}delete/`;
    byId("delete").dataset.title = title;
  }, true);

  // --- A question before what can't be undone ---

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
      // Where there is no storage there are no drafts.
    }
  };

  document.addEventListener("submit", (event) => {
    const form = event.target;
    if (form.dataset.confirm && !("confirmed" in form.dataset)) {
      event.preventDefault();
      ask(form);
    } else if (form.id === "delete") {
      forgetDrafts((key) => form.action.includes(key.split(":").at(-1)));
    } else if ("forgetDrafts" in form.dataset) {
      forgetDrafts(() => true); // The next person at this machine must not find them.
    }
  });

  // --- What the page says of the model is about the one that is chosen. ---

  byId("model")?.addEventListener("change", (event) => {
    for (const element of document.querySelectorAll("[data-model]")) {
      element.hidden = element.dataset.model !== event.target.value;
    }
    const longest = Number(event.target.selectedOptions[0].dataset.longestAnswer);
    byId("max-tokens").max = longest;
    byId("max-tokens").placeholder = longest.toLocaleString(document.documentElement.lang);
  });

  // --- Ctrl+Shift+O begins a new chat. ---

  addEventListener("keydown", (event) => {
    if (!(event.ctrlKey || event.metaKey) || !event.shiftKey || event.code !== "KeyO") return;
    event.preventDefault();
    document.querySelector(".sidebar__new").click();
  });
})();
