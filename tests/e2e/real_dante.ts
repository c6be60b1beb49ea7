/**
 * Dante: Debian's SOCKS5 server, with and without passwords.
 *
 * @module
 */
import { GATEWAY_LAB, type LabHost } from "../lab/mod.ts";
import { listening } from "./real_program.ts";

const { servers } = GATEWAY_LAB;

/** Where it is asked, on both of the internet host's second addresses, and where it asks from. */
export const DANTE_PORT = 1080;
/** As `missingPrograms` wants it. */
export const DANTE_NEEDS = { danted: "dante-server" };
/** The one account there is. */
export const DANTE_LOGIN = { username: "pellucid", password: "correct horse" };
/** `openssl passwd -5 -salt pellucid 'correct horse'` */
const PASSWORD_HASH = "$5$pellucid$bpnjR7O0OJFSMIPYz7uKansAqxujn26fmwHVDt0TzZ5";

/** Starts it in the internet host; resolves to what it prints: a line for each connection and association. */
export async function startDante(
  host: LabHost,
  folder: string,
  method: "none" | "username",
): Promise<{ readonly log: () => string }> {
  await Deno.writeTextFile(`${folder}/danted.conf`, configuration(method));
  await Deno.writeTextFile(
    `${folder}/passwd`,
    `root:x:0:0::/:/bin/sh\n${DANTE_LOGIN.username}:x:1000:1000::/:/bin/sh\n`,
  );
  await Deno.writeTextFile(`${folder}/shadow`, `${DANTE_LOGIN.username}:${PASSWORD_HASH}:19000::::::\n`);
  // It knows the system's accounts alone. Those of the lab are seen by this process and its children: `ip netns exec`
  // gives each command a mount namespace of its own.
  const script = `mount -n --bind '${folder}/passwd' /etc/passwd && ` +
    `mount -n --bind '${folder}/shadow' /etc/shadow && ` +
    `exec danted -f '${folder}/danted.conf' -p '${folder}/danted.pid'`;
  const server = host.spawn(["sh", "-c", script]);
  await listening(host, server, "Dante", { proto: "tcp", port: DANTE_PORT });
  return { log: () => server.stderr.text() };
}

/**
 * The one user of the lab is root, so that is who it stays. It would connect the sockets of associations to the first
 * destination unless told otherwise, and answers from elsewhere would be lost.
 */
function configuration(method: "none" | "username"): string {
  return `logoutput: stderr
internal: ${servers.v4b} port = ${DANTE_PORT}
internal: ${servers.v6b} port = ${DANTE_PORT}
external: ${servers.v4b}
external: ${servers.v6b}
clientmethod: none
socksmethod: ${method}
udp.connectdst: no
user.privileged: root
user.unprivileged: root
client pass { from: 0/0 to: 0/0 }
socks pass {
  from: 0/0 to: 0/0
  command: connect udpassociate
  log: connect error
}
socks pass { from: 0/0 to: 0/0 command: udpreply }
`;
}
