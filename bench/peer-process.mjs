// Runs the peer so that it ends with the bench: by itself it would outlive a bench that was killed.
//
//     node bench/peer-process.mjs MAIN --port=N --headless
import { pathToFileURL } from "node:url";
import { endWithParent } from "./ready.mjs";

endWithParent();
await import(pathToFileURL(process.argv[2]).href);
