/**
 * A game: the dedicated server of Sauerbraten (Cube 2), and quakestat, which players' server browsers are made of.
 *
 * @module
 */
import { assertEquals } from "../assert.ts";
import { GATEWAY_LAB, type LabHost } from "../lab/mod.ts";
import type { RealProgram } from "./real_program.ts";

/** Debian's place for games is in no root's PATH. */
const SERVER = "/usr/games/cube2-server";
const PORT = 28785;
/** Where it answers browsers. */
const INFO_PORT = 28786;
const DESCRIPTION = "a game in the lab";

/** A game without players. */
export const SAUERBRATEN: RealProgram = {
  name: "Sauerbraten",
  needs: { [SERVER]: "cube2-server", quakestat: "qstat" },
  start(host) {
    // Answers leave from the address it is bound to. -m without a name: it is announced to nobody.
    const argv = [SERVER, `-n${DESCRIPTION}`, `-i${GATEWAY_LAB.servers.v4}`, `-j${PORT}`, "-m"];
    return Promise.resolve(host.spawn(argv));
  },
  listens: { proto: "udp", port: INFO_PORT },
  clients: [
    {
      name: "quakestat -cubes",
      // Neither of the two knows IPv6.
      families: ["v4"],
      use: query,
      flows: [{ proto: "udp", port: INFO_PORT }],
    },
  ],
};

interface ServerState {
  readonly status: string;
  readonly name?: string;
  ping?: number;
  readonly rules?: Record<string, string>;
}

async function query(host: LabHost, address: string): Promise<string> {
  const argv = ["quakestat", "-json", "-R", "-P", "-retry", "1", "-interval", "5", "-cubes", address];
  const [state] = JSON.parse(await host.output(argv)) as [ServerState];
  assertEquals([state.status, state.name], ["online", DESCRIPTION], JSON.stringify(state));
  delete state.ping;
  // A field that this protocol has no longer: quakestat prints what its memory happened to hold.
  delete state.rules?.["mm"];
  return JSON.stringify(state);
}
