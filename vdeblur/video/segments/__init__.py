"""Segmented encoding: finished segments and the journal of a resumable job."""
