/**
 * Datagrams whose way is chosen by what a real gateway knows of them: the interface that they came in by, their codepoint,
 * and the user who sent them, where that is on this host.
 */
import { assertEquals } from "../assert.ts";
import { DatagramClient, labTest } from "../lab/mod.ts";
import { DatagramSite, endpoint, FAMILIES } from "./datagram_site.ts";

/** Each rule has a port of its own, so that one that is wrong shows. */
const BY_INTERFACE = 7_001, BY_OTHER_INTERFACE = 7_002, BY_DSCP = 7_003, BY_UID = 7_004, OPEN = 7_005;
const ASKED_DSCP = 10, GIVEN_DSCP = 46, ECN = 1;

const CONFIG = `
[upstream.refuse]
kind = "block"
how = "reset"

[upstream.forbid]
kind = "block"
how = "icmp"

[upstream.fast]
kind = "direct"
dscp = ${GIVEN_DSCP}

[policy]
push-down = false

[[rule]]
network = "udp"
interface = "lan0"
destination-port = ${BY_INTERFACE}
use = "refuse"

[[rule]]
network = "udp"
interface = "wan0"
destination-port = ${BY_OTHER_INTERFACE}
use = "refuse"

[[rule]]
network = "udp"
dscp = ${ASKED_DSCP}
destination-port = ${BY_DSCP}
use = "fast"

[[rule]]
network = "udp"
uid = 0
destination-port = ${BY_UID}
use = "forbid"
`;

labTest(
  "udp policy: interface, codepoint and user of a datagram decide its way, and each only its own",
  async () => {
    const file = await Deno.makeTempFile({ suffix: ".toml" });
    try {
      await Deno.writeTextFile(file, CONFIG);
      await using site = await DatagramSite.start({ flags: ["--local", "--config", file] });
      const ports = [BY_INTERFACE, BY_OTHER_INTERFACE, BY_DSCP, BY_UID, OPEN];
      for (const port of ports) await site.internet.serveDatagrams({ kind: "echo", port });
      await using here = new DatagramClient(site.gateway);
      for (const family of FAMILIES) {
        const to = (port: number) => endpoint(family.server, port);
        const socket = await site.open(family.client);
        const ask = async (port: number, dscp = 0) => {
          await socket.send({ to: to(port), text: `${port}`, tos: dscp << 2 | ECN });
          const { text, tos } = await socket.received();
          return [text, tos];
        };
        await socket.send({ to: to(BY_INTERFACE), text: "blocked" });
        const { code, to: told, offender } = await socket.failed();
        assertEquals([code, told, offender], ["ECONNREFUSED", to(BY_INTERFACE), family.server], family.name);
        assertEquals(await ask(BY_OTHER_INTERFACE), [`${BY_OTHER_INTERFACE}`, ECN]);
        assertEquals(await ask(BY_DSCP, ASKED_DSCP), [`${BY_DSCP}`, GIVEN_DSCP << 2 | ECN]);
        // The rule has decided for this flow; another one is asked for.
        const second = await site.open(family.client);
        await second.send({ to: to(BY_DSCP), text: "plain", tos: ECN });
        assertEquals((await second.received()).tos, ECN);
        // Nobody here has sent it, though this host is root's.
        assertEquals(await ask(BY_UID), [`${BY_UID}`, ECN]);
        const own = await here.open({ from: endpoint(family.wan, 0) });
        await own.send({ to: to(BY_UID), text: "root" });
        assertEquals((await own.failed()).to, to(BY_UID));
        await own.send({ to: to(OPEN), text: "open" });
        assertEquals((await own.received()).text, "open");
        // It came in by no interface.
        await own.send({ to: to(BY_INTERFACE), text: "own" });
        assertEquals((await own.received()).text, "own");
      }
      assertEquals((await site.stop()).udpBlocked, 4);
    } finally {
      await Deno.remove(file);
    }
  },
);
