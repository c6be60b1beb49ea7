/**
 * The flags of `reload`.
 *
 * @module
 */
import { type Flag, toggle, whole } from "./flag.ts";

const socket: Flag<string | undefined> = {
  shape: "single",
  placeholder: "FILE",
  help: "the proxy's control socket, where it cannot be found",
  fallback: undefined,
  fallbackText: "",
  read: ([text]) => text!,
};

/** Which proxy is meant, and how the outcome is told. */
export const RELOAD_FLAGS = {
  port: whole(undefined, "port of the proxy, where several run in this network namespace", ""),
  socket,
  json: toggle("print the outcome as JSON"),
};
