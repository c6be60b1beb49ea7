/**
 * Mapping and filtering, in the way in which STUN's tests tell a NAT's kind (RFC 5780, sections 4.3 and 4.4): by
 * default both are endpoint-independent, which games call an open NAT, through however many workers.
 */
import { assertEquals } from "../assert.ts";
import {
  type ClientSocket,
  DatagramClient,
  labTest,
  type MappingAnswer,
  type MappingRequest,
} from "../lab/mod.ts";
import {
  DatagramSite,
  endpoint,
  FAMILIES,
  type Family,
  seenAs,
  type Source,
  SOURCES,
} from "./datagram_site.ts";

const FIRST_PORT = 40_000;
/** Enough that the rules' hash gives some of them to each of two workers. */
const SOCKETS = 8;

/** In the words of RFC 5780. */
type Kind = "endpoint-independent" | "address-dependent" | "address-and-port-dependent";

/** Of the same server, at both of its addresses; it listens there once it has answered from there. */
const ALTERNATE_PORT = 3479;

/** Asks both addresses at both ports, from one socket, who it is. */
async function mappings(socket: ClientSocket, family: Family, port: number): Promise<Set<string>> {
  const mapped = new Set<string>();
  for (const address of [family.server, family.serverB]) {
    for (const each of [port, ALTERNATE_PORT]) {
      const { text } = await socket.ask({ to: endpoint(address, each), text: "who am I?" });
      mapped.add((JSON.parse(text!) as MappingAnswer).mapped);
    }
  }
  return mapped;
}

/** Who may write to a socket that has written to one endpoint alone. */
async function filtering(socket: ClientSocket, family: Family, port: number): Promise<Kind> {
  const asked = endpoint(family.server, port);
  const otherPort = endpoint(family.server, ALTERNATE_PORT);
  const otherAddress = endpoint(family.serverB, port);
  const both = endpoint(family.serverB, ALTERNATE_PORT);
  // The answer that always comes is the last one: what has not come before it is not coming.
  const request: MappingRequest = { from: [both, otherAddress, otherPort, asked] };
  await socket.send({ to: asked, text: JSON.stringify(request) });
  const heard: string[] = [];
  while (!heard.includes(asked)) heard.push((await socket.received()).from);
  switch (heard.length) {
    case 4:
      assertEquals(heard, [both, otherAddress, otherPort, asked]);
      return "endpoint-independent";
    case 2:
      assertEquals(heard, [otherPort, asked]);
      return "address-dependent";
    default:
      assertEquals(heard, [asked]);
      return "address-and-port-dependent";
  }
}

async function startServer(site: DatagramSite): Promise<number> {
  return (await site.internet.serveDatagrams({ kind: "mapping", reports: false })).port;
}

for (const source of SOURCES) {
  labTest(
    `udp mapping: source ${source}: mapping and filtering are endpoint-independent, through two workers`,
    async () => {
      await using site = await DatagramSite.start({ source });
      const port = await startServer(site);
      for (const family of FAMILIES) {
        for (let n = 0; n < SOCKETS; n++) {
          const socket = await site.open(family.client, FIRST_PORT + n);
          const seen = seenAs(source, family, FIRST_PORT + n);
          assertEquals(await filtering(socket, family, port), "endpoint-independent");
          assertEquals([...await mappings(socket, family, port)], [seen]);
        }
      }
      const totals = await site.stop();
      assertEquals([totals.udpSessionsOpened, totals.udpFiltered], [2 * SOCKETS, 0]);
    },
  );

  labTest(
    `udp mapping: source ${source}: a host that the client never wrote to reaches it, and is answered`,
    async () => {
      await using site = await DatagramSite.start({ source });
      const port = await startServer(site);
      await using strangers = new DatagramClient(site.internet);
      for (const family of FAMILIES) {
        const socket = await site.open(family.client, FIRST_PORT);
        const { text } = await socket.ask({ to: endpoint(family.server, port), text: "who am I?" });
        const { mapped } = JSON.parse(text!) as MappingAnswer;
        const stranger = await strangers.open({ from: endpoint(family.serverB, 5000) });
        await stranger.send({ to: mapped, text: "hello, client" });
        const got = await socket.received();
        assertEquals([got.from, got.text], [stranger.local, "hello, client"]);
        // And back, by the same mapping.
        await socket.send({ to: stranger.local, text: "hello, stranger" });
        const back = await stranger.received();
        assertEquals([back.from, back.text], [mapped, "hello, stranger"]);
      }
      assertEquals((await site.stop()).udpSessionsOpened, FAMILIES.length);
    },
  );
}

const FILTERS: readonly (readonly [flag: string, kind: Kind, filtered: number])[] = [
  ["endpoint", "endpoint-independent", 0],
  ["address", "address-dependent", 2],
  ["address-port", "address-and-port-dependent", 3],
];
for (const [flag, kind, filtered] of FILTERS) {
  labTest(
    `udp mapping: --udp-filter ${flag} is ${kind} filtering, and the mapping stays what it is`,
    async () => {
      const source: Source = "own";
      await using site = await DatagramSite.start({ source, flags: ["--udp-filter", flag] });
      const port = await startServer(site);
      for (const family of FAMILIES) {
        const socket = await site.open(family.client, FIRST_PORT);
        assertEquals(await filtering(socket, family, port), kind);
        assertEquals([...await mappings(socket, family, port)], [seenAs(source, family, FIRST_PORT)]);
        // By now it has written to all of them.
        assertEquals(await filtering(socket, family, port), "endpoint-independent");
      }
      assertEquals((await site.stop()).udpFiltered, filtered * FAMILIES.length);
    },
  );
}

labTest(
  "udp mapping: TFTP: the answer comes from another port, and the transfer goes on with that",
  async () => {
    await using site = await DatagramSite.start();
    await using servers = new DatagramClient(site.internet);
    for (const family of FAMILIES) {
      const listener = await servers.open({ from: endpoint(family.server, 69) });
      const socket = await site.open(family.client);
      await socket.send({ to: listener.local, text: "RRQ" });
      const { from: mapped, text } = await listener.received();
      assertEquals(text, "RRQ");
      const transfer = await servers.open({ from: endpoint(family.server, 0) });
      for (let block = 1; block <= 20; block++) {
        await transfer.send({ to: mapped, text: `DATA ${block}` });
        const data = await socket.received();
        assertEquals([data.from, data.text], [transfer.local, `DATA ${block}`]);
        await socket.send({ to: data.from, text: `ACK ${block}` });
        const ack = await transfer.received();
        assertEquals([ack.from, ack.text], [mapped, `ACK ${block}`]);
      }
    }
    assertEquals((await site.stop()).udpSessionsOpened, FAMILIES.length);
  },
);

for (const source of SOURCES) {
  labTest(
    `udp mapping: source ${source}: two clients behind the gateway reach each other where they are seen`,
    async () => {
      await using site = await DatagramSite.start({ source, lab: { secondClient: true } });
      const port = await startServer(site);
      await using second = new DatagramClient(site.lab.host("client2"));
      for (const family of FAMILIES) {
        const one = await site.open(family.client, FIRST_PORT);
        const other = await second.open({ from: endpoint(family.secondClient, FIRST_PORT + 1) });
        const mapped: string[] = [];
        for (const socket of [one, other]) {
          const { text } = await socket.ask({ to: endpoint(family.server, port), text: "who am I?" });
          mapped.push((JSON.parse(text!) as MappingAnswer).mapped);
        }
        for (const [sender, receiver, to] of [[one, other, mapped[1]!], [other, one, mapped[0]!]] as const) {
          await sender.send({ to, text: "hello, neighbour" });
          const { from, text } = await receiver.received();
          assertEquals(text, "hello, neighbour");
          // Whom it hears it can answer.
          await receiver.send({ to: from, text: "hello yourself" });
          assertEquals((await sender.received()).text, "hello yourself");
        }
      }
    },
  );
}
