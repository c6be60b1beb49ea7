/**
 * Tinyproxy: an HTTP proxy that people run, with and without passwords.
 *
 * @module
 */
import { GATEWAY_LAB, type LabHost } from "../lab/mod.ts";
import { listening } from "./real_program.ts";

const { servers } = GATEWAY_LAB;

/** Where it is asked, on both of the internet host's second addresses. */
export const TINYPROXY_PORT = 3128;
/** As `missingPrograms` wants it. */
export const TINYPROXY_NEEDS = { tinyproxy: "tinyproxy" };
/** What it lets in. */
export const TINYPROXY_LOGIN = { username: "pellucid", password: "battery-staple" };

/** Starts it in the internet host; resolves to what it prints: a line for each request. */
export async function startTinyproxy(
  host: LabHost,
  folder: string,
  wantsLogin: boolean,
): Promise<{ readonly log: () => string }> {
  const { username, password } = TINYPROXY_LOGIN;
  const lines = [
    `Port ${TINYPROXY_PORT}`,
    `Listen ${servers.v4b}`,
    `Listen ${servers.v6b}`,
    "Timeout 60",
    "MaxClients 50",
    "LogLevel Connect",
    "DisableViaHeader Yes",
    ...(wantsLogin ? [`BasicAuth ${username} ${password}`] : []),
  ];
  await Deno.writeTextFile(`${folder}/tinyproxy.conf`, lines.join("\n") + "\n");
  const server = host.spawn(["tinyproxy", "-d", "-c", `${folder}/tinyproxy.conf`]);
  await listening(host, server, "Tinyproxy", { proto: "tcp", port: TINYPROXY_PORT });
  return { log: () => server.stdout.text() + server.stderr.text() };
}
