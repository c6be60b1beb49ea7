/**
 * The demo's first paragraph: who is where, and how to read the table.
 *
 * @module
 */
import { ADDRESSES, CLIENT_SIDE, FAMILIES } from "./stage.ts";

/** The lines above the table, at most 110 columns. */
export function renderPicture(): string[] {
  const { client, gateway, gatewayOutside, internet } = ADDRESSES;
  const left = column(FAMILIES.map((family) => client[family]));
  const middle = column(
    FAMILIES.map((family) => `${gateway[family].padEnd(13)}   ${gatewayOutside[family]}`),
  );
  const right = column(FAMILIES.map((family) => internet[family]));
  const edge = (cell: string) => `+${"-".repeat(cell.length + 2)}+`;
  const title = (text: string, cell: string) => `  ${text}`.padEnd(cell.length + 4);
  const gap = " ".repeat(LINK.length);
  const blank = `  ${edge(left[0]!)}${gap}${edge(middle[0]!)}${gap}${edge(right[0]!)}`;
  return [
    "Connections and datagrams taken over on their way, between programs that know nothing of a proxy.",
    "",
    `  ${title("client", left[0]!)}${gap}${title("gateway, with Pellucid", middle[0]!)}${gap}${
      title("internet", right[0]!).trimEnd()
    }`,
    blank,
    `  | ${left[0]} |${LINK}| ${middle[0]} |${LINK}| ${right[0]} |`,
    `  | ${left[1]} |${CLIENT_SIDE.padStart(5).padEnd(gap.length)}| ${middle[1]} |${gap}| ${right[1]} |`,
    blank,
    "",
    "Each host is a network namespace made for this demo; nothing on this machine is changed. The client dials",
    "the internet host, whose addresses the gateway does not have. Every connection, and every exchange of",
    "datagrams, has two lines: what its two ends saw, measured without the proxy's help, and what the proxy's",
    "`flow` event said of it. It is ok when both agree to the last port, byte and datagram, and what was carried",
    "is right. Datagrams are counted up + down; no datagram says that it is the last one, so the proxy tells of",
    "them when it stops.",
  ];
}

const LINK = "-------";

function column(cells: readonly string[]): string[] {
  const width = Math.max(...cells.map((cell) => cell.length));
  return cells.map((cell) => cell.padEnd(width));
}
