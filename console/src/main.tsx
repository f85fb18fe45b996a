/** Begins the console: takes the session out of the address, connects to the node, shows the page. */
import { render } from "preact";
import { App } from "./app.tsx";
import { beginLive } from "./live.ts";
import { takeSession } from "./session.ts";
import { chosenTheme, setTheme } from "./theme.ts";
import "./style/base.css";
import "./style/shell.css";
import "./style/parts.css";
import "./style/views.css";
import "./style/picture.css";
import "./style/chat.css";

takeSession();
setTheme(chosenTheme());
beginLive();
const place = document.querySelector("#app");
if (place) render(<App />, place);
