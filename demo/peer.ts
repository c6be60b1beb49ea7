/**
 * `demo peer`: what the demo's hosts run at the ends of a connection. The demo alone starts it.
 *
 * @module
 */
import { runClients } from "../tests/lab/client_main.ts";
import { runDatagramClient } from "../tests/lab/datagram_client_main.ts";
import { runDatagramServer } from "../tests/lab/datagram_server_main.ts";
import { runServer } from "../tests/lab/server_main.ts";

/**
 * `server SPEC` and `datagram-server SPEC` serve until their standard input ends; `client` and `datagram-client` do what
 * theirs says.
 */
export async function runPeer(kind: string | undefined, spec: string | undefined): Promise<void> {
  if (kind === "server" && spec !== undefined) return await runServer(spec);
  if (kind === "client" && spec === undefined) return await runClients();
  if (kind === "datagram-server" && spec !== undefined) return runDatagramServer(spec);
  if (kind === "datagram-client" && spec === undefined) return runDatagramClient();
  throw new TypeError(`demo peer: ${kind} found, [datagram-]server SPEC or [datagram-]client wanted`);
}
