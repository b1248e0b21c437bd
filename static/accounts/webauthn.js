"use strict";

/* Passkeys. A form with data-webauthn is submitted with a credential from the browser. The options for it come from the JSON
   in the form or, for sign-in, from the form's address. allauth's webauthn-json.js converts JSON for the browser's API. */
(() => {
  const api = globalThis.webauthnJSON;
  // Pages contain these forms only at addresses where passkeys work.
  const isSupported = isSecureContext && Boolean(api?.supported());

  const show = (form, problem) => {
    for (const text of form.querySelectorAll("[data-problem]")) text.hidden = text.dataset.problem !== problem;
  };

  const options = async (form) => {
    if (form.dataset.webauthn !== "fetch") {
      return JSON.parse(form.querySelector('script[type="application/json"]').textContent);
    }
    const answer = await fetch(form.action, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`The server returned status ${answer.status}.`);
    return answer.json();
  };

  // allauth lets the page decide whether a new passkey works without a password.
  const create = (asked, isPasswordless) => {
    const selection = asked.publicKey.authenticatorSelection;
    selection.residentKey = isPasswordless ? "required" : "discouraged";
    selection.requireResidentKey = isPasswordless;
    if (isPasswordless) selection.userVerification = "required";
    return api.create(asked);
  };

  const credential = async (form) => {
    const asked = await options(form);
    return form.dataset.webauthn === "create"
      ? create(asked.creation_options, form.elements.passwordless.checked)
      : api.get(asked.request_options);
  };

  for (const form of document.querySelectorAll("form[data-webauthn]")) {
    let isAsking = false;
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      if (isAsking) return;
      if (!isSupported) {
        show(form, "unsupported");
        return;
      }
      isAsking = true;
      show(form, "");
      try {
        form.elements.credential.value = JSON.stringify(await credential(form));
        form.submit();
      } catch {
        show(form, "refused");
      } finally {
        isAsking = false;
      }
    });
  }
})();
