/**
 * The lab's HTTP server: tells who asked, and sends or swallows bulk.
 *
 * @module
 */
import { netAddrText } from "./accounted_connection.ts";
import { SeededBytes } from "./seeded_bytes.ts";
import type { HttpAnswer, ServerReport } from "./server_spec.ts";

/** Serves until the process ends; prints `ready`, and each request, through `report`. */
export async function serveHttp(
  address: { readonly hostname: string; readonly port: number },
  report: (line: ServerReport) => void,
): Promise<void> {
  const server = Deno.serve({
    ...address,
    onListen: ({ hostname, port }) => report({ event: "ready", address: hostname, port }),
  }, async (request, { remoteAddr }) => {
    let received = 0;
    for await (const chunk of request.body ?? []) received += chunk.length;
    const answer: HttpAnswer = {
      peer: netAddrText(remoteAddr),
      method: request.method,
      url: request.url,
      received,
    };
    report({ event: "request", ...answer });
    const bulk = /^\/bytes\/(\d+)$/.exec(new URL(request.url).pathname);
    if (bulk === null) return Response.json(answer);
    const bytes = Number(bulk[1]);
    return new Response(seededStream(bytes), { headers: { "content-length": String(bytes) } });
  });
  await server.finished;
}

function seededStream(bytes: number): ReadableStream<Uint8Array<ArrayBuffer>> {
  const source = new SeededBytes(0);
  let left = bytes;
  return new ReadableStream({
    pull(controller) {
      if (left === 0) return controller.close();
      const piece = source.next(left).slice();
      left -= piece.length;
      controller.enqueue(piece);
    },
  });
}
