/**
 * `demo peer`: what the demo's hosts run at the ends of a connection. The demo alone starts it.
 *
 * @module
 */
import { runClients } from "../tests/lab/client_main.ts";
import { runServer } from "../tests/lab/server_main.ts";

/** `server SPEC` serves until its standard input ends; `client` follows the specs on its standard input. */
export async function runPeer(kind: string | undefined, spec: string | undefined): Promise<void> {
  if (kind === "server" && spec !== undefined) return await runServer(spec);
  if (kind === "client" && spec === undefined) return await runClients();
  throw new TypeError(`demo peer: ${kind} found, server SPEC or client wanted`);
}
