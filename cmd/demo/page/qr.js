// Reads the QR code in a picture, and says whether a phone reads it too.

import { Fault } from './strict.js';

const maxPixels = 32 << 20;
const maxSide = 2000; // pixels: a larger picture is made smaller first

/** Reads the QR code in a picture that the browser knows, as read does. */
export async function readPicture(blob) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(blob);
  } catch {
    throw new Fault('reading the picture: the file is damaged, or no picture that this browser knows');
  }
  const { width, height } = bitmap;
  if (width * height > maxPixels) throw new Fault(`the picture has ${width} x ${height} pixels: cut the code out of it`);
  const scale = Math.min(1, maxSide / Math.max(width, height));
  const code = await read(pixels(bitmap, Math.round(width * scale), Math.round(height * scale)));
  return { ...code, ...legibility(code.modules, code.module / scale), width, height, module: code.module / scale };
}

// pixels draws a picture, or what a video shows.
function pixels(source, width, height) {
  const canvas = document.createElement('canvas');
  Object.assign(canvas, { width, height });
  const drawing = canvas.getContext('2d');
  drawing.fillStyle = '#fff'; // behind what is transparent
  drawing.fillRect(0, 0, width, height);
  drawing.drawImage(source, 0, 0, width, height);
  return drawing.getImageData(0, 0, width, height);
}

/** Looks through the camera, which the video shows, until it reads a QR code as read does, or the signal aborts. */
export async function readCamera(video, signal) {
  let stream;
  try {
    stream = await navigator.mediaDevices.getUserMedia({ video: { facingMode: 'environment', width: { ideal: videoPixels } } });
  } catch (e) {
    throw new Fault(e.name === 'NotAllowedError' ? 'this page may not use it; allow it in the browser' : 'this machine has none that can be used');
  }
  try {
    video.srcObject = stream;
    await video.play();
    while (!signal.aborted) {
      try {
        return await read(pixels(video, video.videoWidth, video.videoHeight));
      } catch (e) {
        if (!(e instanceof Fault)) throw e;
      }
      await new Promise((resolve) => setTimeout(resolve, 150)); // no code yet
    }
    throw new Fault('it was stopped');
  } finally {
    stream.getTracks().forEach((track) => track.stop());
    video.srcObject = null;
  }
}

/**
 * Reads the QR code in pixels ({data, width, height}, RGBA): {text, version,
 * modules, module}, with the modules on a side and the pixels of one.
 */
export async function read({ data, width, height }) {
  await import('./vendor/jsQR.js'); // a script that sets jsQR
  const code = globalThis.jsQR(data, width, height);
  if (!code) {
    throw new Fault('no readable code in the picture: cut the code out of it with a light margin, or take a sharper picture');
  }
  const { topLeftCorner: a, topRightCorner: b } = code.location;
  const modules = 17 + 4 * code.version;
  return { text: code.data, version: code.version, modules, module: Math.hypot(b.x - a.x, b.y - a.y) / modules };
}

// What the estimate supposes: a screen with 96 dots per inch that shows a pixel
// of the picture as one dot, and a phone that scans video of 1920 pixels over 70
// degrees, of which a decoder needs three a module.
const dot = 25.4 / 96; // mm
const videoPixels = 1920;
const widthPerDistance = 2 * Math.tan((35 * Math.PI) / 180);
const neededPixels = 3;
const armsLength = 40; // cm

/** From how far a phone reads a code with modules of so many pixels: {distance, legible, sentence}, distance in cm. */
export function legibility(modules, module) {
  const distance = Math.round((module * dot * videoPixels) / (neededPixels * widthPerDistance) / 10);
  const side = Math.round(((modules * module * dot) / 10) * 10) / 10;
  const legible = distance >= armsLength;
  const verdict = legible
    ? "a phone reads it at arm's length"
    : `a phone has to come closer than arm's length (${armsLength} cm): show it larger, or give the dispatcher short_links`;
  return {
    distance,
    legible,
    sentence: `On a screen with 96 dots per inch the code is ${side} cm wide, and a phone reads it from about ${distance} cm: ${verdict}.`,
  };
}
