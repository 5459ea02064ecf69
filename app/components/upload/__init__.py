"""The box that takes files from the analyst's machine; its code is `upload.js`."""
