/**
 * Knot DNS as a server that answers each query with its source, and believes what PROXY protocol says of that.
 *
 * @module
 */
import { GATEWAY_LAB, type LabHost } from "../lab/mod.ts";
import { listening } from "./real_program.ts";

/** Asked for A over IPv4, for AAAA over IPv6. */
export const WHOAMI_NAME = "whoami.test";
export const WHOAMI_PORT = 53;
/** As `missingPrograms` wants it. */
export const WHOAMI_NEEDS = { knotd: "knot", dig: "dnsutils" };

/** Starts it in the internet host, on all of its addresses. */
export async function startWhoami(host: LabHost, folder: string): Promise<void> {
  const zone =
    `$ORIGIN ${WHOAMI_NAME}.\n@ 1 SOA ns hostmaster 1 60 60 60 60\n@ 60 NS ns\nns 60 A 198.51.100.10\n`;
  await Deno.writeTextFile(`${folder}/${WHOAMI_NAME}.zone`, zone);
  await Deno.writeTextFile(`${folder}/knot.conf`, configuration(folder));
  const server = host.spawn(["knotd", "-c", `${folder}/knot.conf`]);
  await listening(host, server, "Knot DNS", { proto: "udp", port: WHOAMI_PORT });
}

function configuration(folder: string): string {
  const { wanV4, wanV6 } = GATEWAY_LAB.gateway;
  return `
server:
  rundir: ${folder}
  listen: [ 0.0.0.0@${WHOAMI_PORT}, "::@${WHOAMI_PORT}" ]
  proxy-allowlist: [ "${wanV4}", "${wanV6}" ]
  udp-workers: 1
  tcp-workers: 1
  background-workers: 1
database:
  storage: ${folder}
zone:
  - domain: ${WHOAMI_NAME}
    storage: ${folder}
    module: mod-whoami
    zonefile-load: whole
    journal-content: none
log:
  - target: stderr
    any: info
`;
}
