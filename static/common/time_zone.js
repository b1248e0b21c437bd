"use strict";

/* Tells the server the browser's time zone, until the server has stored one for the person. */
(() => {
  const { timeZone } = new Intl.DateTimeFormat().resolvedOptions();
  const security = location.protocol === "https:" ? "; Secure" : "";
  if (timeZone) document.cookie = `time_zone=${timeZone}; Path=/; Max-Age=86400; SameSite=Lax${security}`;
})();
