"use strict";
// Why this number: what it was computed from, and what the loss makes of it.

function WhyThisNumber() {
  return null;
}
