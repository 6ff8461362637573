// Takes {key, messages} on its standard input apart as the page /inspect of the
// demo does: for each message what is seen, or {fault}.
import { text } from "node:stream/consumers";
import { readDeviceKey } from "../../../cmd/demo/page/devicekey.js";
import { examine } from "../../../cmd/demo/page/envelope.js";
import { legibility, read } from "../../../cmd/demo/page/qr.js";
import { Fault } from "../../../cmd/demo/page/strict.js";

globalThis.self = globalThis; // which jsQR looks for

async function run({ key, text: input, pixels, width, height }) {
  try {
    const picture = pixels && { data: new Uint8ClampedArray(Buffer.from(pixels, "base64")), width, height };
    const readPicture = async () => {
      const code = await read(picture);
      return { ...code, ...legibility(code.modules, code.module) };
    };
    const deviceKey = key && (await readDeviceKey(key));
    const seen = await examine(input, { key: deviceKey, readPicture });
    return { ...seen, thumbprint: deviceKey?.thumbprint };
  } catch (e) {
    if (!(e instanceof Fault)) throw e;
    return { fault: e.message };
  }
}

console.log(JSON.stringify(await Promise.all(JSON.parse(await text(process.stdin)).map(run))));
