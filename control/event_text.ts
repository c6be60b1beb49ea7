/**
 * Events as one line for people.
 *
 * @module
 */
import type { AppEvent } from "./events.ts";

/** The event in words, without time or level. */
export function describeEvent(event: AppEvent): string {
  switch (event.event) {
    case "starting":
      return `starting: ${count(event.workers, "worker")}, pid ${event.pid}`;
    case "ready": {
      const hasTcp = event.mode !== "off" || event.legs !== undefined, hasUdp = event.udp !== "off";
      const tcp =
        event.legs?.map(({ direction, mode, port, dns }) =>
          `${dns ? "DNS" : `${direction} TCP`} (${mode}) on port ${port}`
        ) ?? [`TCP (${event.mode}) on ${event.listeners.join(", ")}`];
      const carried = [
        ...(hasTcp ? tcp : []),
        ...(hasUdp ? [`UDP on ${joinPorts(event.udpListeners).join(", ")}`] : []),
        ...(event.source === "keep" ? ["client addresses kept"] : []),
        event.rules,
      ];
      const limits = [
        ...(hasTcp ? [`${event.maxConnections} connections`] : []),
        ...(hasUdp ? [`${event.maxSessions} sessions`] : []),
      ];
      return `ready: ${carried.join("; ")}; ${count(event.workers, "worker")}, ` +
        `${limits.join(" and ")} at most, pid ${event.pid}, ${Math.round(event.startMs)} ms`;
    }
    case "flow": {
      const local = event.local === undefined ? "" : ` from ${event.local}`;
      // That it went from here is what anybody would think.
      const upstream = event.upstream === undefined || event.upstream === "direct"
        ? ""
        : ` by ${event.upstream}`;
      const direction = event.direction === undefined ? "" : `${event.direction} `;
      return `flow: ${direction}${event.proto} ${event.client} -> ${event.destination}${upstream}${local}: ` +
        `${carried(event.bytesUp, event.datagramsUp)} up, ${
          carried(event.bytesDown, event.datagramsDown)
        } down, ` +
        `${formatMs(event.durationMs)}, ${event.end.reason} by ${event.end.side}`;
    }
    case "draining": {
      const { openConnections, openSessions } = event;
      const open = [
        ...(openConnections > 0 ? [count(openConnections, "connection")] : []),
        ...(openSessions > 0 ? [count(openSessions, "session")] : []),
      ];
      if (open.length === 0) return "draining: nothing is open";
      return `draining: ${open.join(" and ")} open, ` +
        `${formatMs(event.timeoutMs)} at most; a second signal ends them`;
    }
    case "stopped": {
      const { tcpFinished, tcpDialFailed, tcpBytesUp, tcpBytesDown, udpSessionsOpened } = event.totals;
      const { udpDatagramsUp, udpBytesUp, udpDatagramsDown, udpBytesDown } = event.totals;
      const sessions = udpSessionsOpened === 0 ? "" : `; ${count(udpSessionsOpened, "session")}, ` +
        `${carried(udpBytesUp, udpDatagramsUp)} up, ${carried(udpBytesDown, udpDatagramsDown)} down`;
      return `stopped${event.forced ? " by force" : ""} after ${formatMs(event.upMs)}: ` +
        `${count(tcpFinished, "connection")} carried, ${tcpDialFailed} not connected, ` +
        `${formatBytes(tcpBytesUp)} up, ${formatBytes(tcpBytesDown)} down${sessions}`;
    }
    case "error":
      return `${event.message}${hinted(event.hint)}`;
    case "warning": {
      const worker = event.worker === undefined ? "" : ` (worker ${event.worker})`;
      return `${event.message}${worker}${hinted(event.hint)}`;
    }
    case "worker-died": {
      const again = event.restartMs === undefined ? "" : `; again in ${formatMs(event.restartMs)}`;
      return `worker ${event.worker} died: ${event.message}${again}${hinted(event.hint)}`;
    }
    case "policy-stuck": {
      const again = event.restartMs === undefined ? "" : ` in ${formatMs(event.restartMs)}`;
      return `worker ${event.worker} is given up, and replaced${again} by one without the policy module: ` +
        `${event.message}${hinted(event.hint)}`;
    }
    case "worker-restarted":
      return `worker ${event.worker} is back after ${formatMs(event.downMs)}`;
    case "upstream-down":
      return `upstream ${event.member} of ${event.group} is down: ${event.reason}; ` +
        `${event.membersUp} of ${event.members} are up`;
    case "upstream-up":
      return `upstream ${event.member} of ${event.group} is back after ${formatMs(event.downMs)}; ` +
        `${event.membersUp} of ${event.members} are up`;
    case "rules-chosen":
      return `rules by ${event.reason}`;
    case "rules-healed": {
      const by = event.by === undefined ? "" : ` by ${event.by}`;
      return `rules were changed${by} and are put back: ${event.found.join("; ")}; ` +
        `not again before ${formatMs(event.quietMs)}`;
    }
    case "rules-replaced":
      return `rules replaced: ${event.message}`;
    case "reloaded": {
      const changes = event.changes.length === 0 ? "nothing has changed" : event.changes.join("; ");
      return `reloaded in ${formatMs(event.tookMs)}: ${changes}`;
    }
    case "reload-failed":
      return `not reloaded, everything is as it was: ${event.issues.join("; ")}`;
    case "routing-replaced":
      return `routing replaced: ${event.message}`;
    case "rules-left":
      return `${event.message}${hinted(event.hint)}`;
    case "rules-lost":
      return `rules are lost, or cannot be read: ${event.message}; again in ${formatMs(event.retryMs)}`;
    case "rules-restored":
      return `rules are back after ${formatMs(event.downMs)}`;
  }
}

function hinted(hint: string | undefined): string {
  return hint === undefined ? "" : `; ${hint}`;
}

function count(n: number, noun: string): string {
  return `${n} ${noun}${n === 1 ? "" : "s"}`;
}

/** What went one way: bytes, and of UDP the datagrams they came in. */
function carried(bytes: number, datagrams: number | undefined): string {
  const size = formatBytes(bytes);
  return datagrams === undefined ? size : `${count(datagrams, "datagram")} (${size})`;
}

/** Listeners on the ports of several workers, one text an address: `0.0.0.0:7870-7873`. */
function joinPorts(listeners: readonly string[]): string[] {
  const ports = new Map<string, number[]>();
  for (const listener of listeners) {
    const colon = listener.lastIndexOf(":");
    const address = listener.slice(0, colon);
    ports.set(address, [...ports.get(address) ?? [], Number(listener.slice(colon + 1))]);
  }
  return [...ports].map(([address, each]) => {
    const first = Math.min(...each), last = Math.max(...each);
    return first === last ? `${address}:${first}` : `${address}:${first}-${last}`;
  });
}

/** Binary units, as tools that measure transfers print them: `812 B`, `1.5 MiB`. */
export function formatBytes(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let unit = 0;
  while (bytes >= 1024 && unit < units.length - 1) [bytes, unit] = [bytes / 1024, unit + 1];
  return `${unit === 0 ? bytes : bytes.toFixed(1)} ${units[unit]}`;
}

/** `340 ms`, `7.2 s`, `2 h 4 min`. */
export function formatMs(ms: number): string {
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = ms / 1000;
  if (seconds < 120) return `${Number(seconds.toFixed(1))} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
